import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type CancelRequest,
  JobService,
  type ListRequest,
  type SubmitResultSchema,
  type WatchRequest,
  type WatchResponseSchema,
} from "@holdfast/gen/holdfast/v1/job_service_pb";
import { Fault } from "../domain/fault.js";
import type { JobNotes } from "../domain/job-note.js";
import type { JobSpec, LinkedSpec } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { JobFilter } from "../domain/job-view.js";
import { RunPolicy } from "../domain/run.js";
import { firstUuid, isUuid, lastUuid } from "../domain/uuid.js";
import type { Explainer } from "../services/explainer.js";
import type { Jobs, Submitted, WatchUpdate } from "../services/jobs.js";
import type { Replays } from "../services/replays.js";
import type { Runs } from "../services/runs.js";
import {
  checkCount,
  checkDuration,
  checkEnum,
  checkInteger,
  checkName,
  checkPageSize,
  checkText,
  checkTime,
  checkUuid,
  invalid,
} from "./check.js";
import { toRefusal } from "./errors.js";
import { toExplainMessage } from "./explain-messages.js";
import { type ImplementedService, implement } from "./implementation.js";
import {
  toEventMessage,
  toJobMessage,
  toJobSpec,
  toLabels,
  toNoteMessage,
  toProgressMessage,
} from "./job-messages.js";
import { childrenPerCallMax, dagNodesMax, dayMs, type EdgeLimits } from "./limits.js";
import { decodePageToken, encodePageToken } from "./page-token.js";
import { toReplayPage, toReplayRequest } from "./replay-messages.js";
import {
  isLinked,
  listedChildren,
  toChildrenMessage,
  toDagNode,
  toLinkedSpec,
  toLinkedSpecs,
} from "./run-messages.js";

const defaultStopGraceMs = 30_000;
const noNotes: JobNotes = { notes: [], isTruncated: false };

export function jobService(
  jobs: Jobs,
  runs: Runs,
  replays: Replays,
  explainer: Explainer,
  limits: EdgeLimits,
): ImplementedService {
  return implement(JobService, {
    async submit(request, { principal }) {
      if (!request.job) throw invalid("job", "is required");
      if (isLinked(request.job)) {
        const linked = await runs.submit(principal, toLinkedSpec(request.job, "job", limits));
        return { jobId: linked.jobId, existing: linked.isExisting };
      }
      const [submitted] = await jobs.submit(principal, [toJobSpec(request.job, "job", limits)]);
      if (submitted instanceof Fault) throw submitted;
      return toSubmitResponse(submitted as Exclude<Submitted, Fault>);
    },

    async submitBatch(request, { principal }) {
      checkCount("jobs", request.jobs.length, 1, limits.batchJobsMax);
      const plain = request.jobs.flatMap((job, at) =>
        isLinked(job) ? [] : [attempt(() => toJobSpec(job, `jobs[${at}]`, limits))],
      );
      const submitted = [...(await jobs.submit(principal, plain))];
      const results: Submitted[] = [];
      for (const [at, job] of request.jobs.entries())
        results.push(
          isLinked(job)
            ? await attemptLinked(() => runs.submit(principal, toLinkedSpec(job, `jobs[${at}]`, limits)))
            : (submitted.shift() as Submitted),
        );
      return { results: results.map(toSubmitResult) };
    },

    async submitRun(request, { principal }) {
      if (!request.parent) throw invalid("parent", "is required");
      if (request.parent.dependsOn.length > 0) throw invalid("parent.depends_on", "must be empty");
      checkCount("children", request.children.length, 1, childrenPerCallMax);
      const [parent, ...children] = [
        toLinkedSpec(request.parent, "parent", limits),
        ...toLinkedSpecs(request.children, "children", limits),
      ];
      if (
        children.some(
          ({ spec }) => spec.idempotencyKey !== "" && spec.idempotencyKey === parent?.spec.idempotencyKey,
        )
      )
        throw invalid("children", "must not have the idempotency_key of the parent");
      const settings = {
        policy: checkEnum("failure_policy", request.failurePolicy, RunPolicy, RunPolicy.FailFast),
        stopGraceMs: checkDuration("stop_grace", request.stopGrace, dayMs, defaultStopGraceMs),
      };
      const run = await runs.submitRun(principal, parent as LinkedSpec, children, settings);
      return { runId: run.runId, childIds: [...run.childIds], existing: run.isExisting };
    },

    async addChildren(request, { principal }) {
      const jobId = checkUuid("job_id", request.jobId);
      checkCount("children", request.children.length, 1, childrenPerCallMax);
      const children = await runs.addChildren(
        principal,
        jobId,
        toLinkedSpecs(request.children, "children", limits),
      );
      return { children: children.map((child) => ({ jobId: child.jobId, existing: child.isExisting })) };
    },

    async getDag(request, { principal }) {
      const jobId = checkUuid("job_id", request.jobId);
      const listed = ["dag", jobId];
      const after = request.pageToken ? decodePageToken(request.pageToken, listed) : firstUuid;
      if (!isUuid(after)) throw invalid("page_token", "is damaged");
      const limit =
        request.pageSize === 0 ? 1_000 : checkInteger("page_size", request.pageSize, 1, dagNodesMax);
      const page = await runs.dag(principal, jobId, after, limit);
      return {
        runId: page.runId,
        failurePolicy: (page.policy ?? 0) as number,
        jobs: page.jobs,
        childrenFailed: page.childrenFailed,
        nodes: page.nodes.map(toDagNode),
        nextPageToken: page.nextAfterId ? encodePageToken(page.nextAfterId, listed) : "",
      };
    },

    async listChildren(request, { principal }) {
      const jobId = checkUuid("job_id", request.jobId);
      const after = request.pageToken ? decodePageToken(request.pageToken, listedChildren(jobId)) : firstUuid;
      if (!isUuid(after)) throw invalid("page_token", "is damaged");
      const page = await runs.children(principal, jobId, after, checkPageSize(request.pageSize));
      const { outcomes, nextPageToken } = toChildrenMessage(jobId, page);
      return { children: outcomes ?? [], nextPageToken: nextPageToken ?? "" };
    },

    async get(request, { principal }) {
      const jobId = checkUuid("job_id", request.jobId);
      const job = toJobMessage(await jobs.get(principal, jobId));
      const history = request.includeHistory ? await jobs.history(principal, jobId) : [];
      const summary = request.includeNotes ? await jobs.notes(principal, jobId) : noNotes;
      return {
        job,
        history: history.map(toEventMessage),
        notes: summary.notes.map(toNoteMessage),
        notesTruncated: summary.isTruncated,
      };
    },

    async list(request, { principal }) {
      const filter = toFilter(request);
      const listed = [principal.tenantId, filter];
      const before = request.pageToken ? decodePageToken(request.pageToken, listed) : lastUuid;
      if (!isUuid(before)) throw invalid("page_token", "is damaged");
      const page = await jobs.list(principal, filter, before, checkPageSize(request.pageSize));
      return {
        jobs: page.jobs.map(toJobMessage),
        nextPageToken: page.nextBeforeId ? encodePageToken(page.nextBeforeId, listed) : "",
      };
    },

    async cancel(request: CancelRequest, { principal }) {
      const jobId = checkUuid("job_id", request.jobId);
      const reason = checkText("reason", request.reason, 1024);
      const graceMs = checkDuration("grace", request.grace, dayMs, 0);
      return { job: toJobMessage(await jobs.cancel(principal, jobId, reason, graceMs)) };
    },

    async retry(request, { principal }) {
      const jobId = checkUuid("job_id", request.jobId);
      const reason = checkText("reason", request.reason, 1024);
      return { job: toJobMessage(await jobs.retry(principal, jobId, reason)) };
    },

    async replay(request, { principal }) {
      const { replayId, jobs, isExisting } = await replays.replay(principal, toReplayRequest(request));
      return { replayId, jobs, existing: isExisting };
    },

    async getReplay(request, { principal }) {
      const replayId = checkUuid("replay_id", request.replayId);
      const listed = ["replay", replayId];
      const after = request.pageToken ? decodePageToken(request.pageToken, listed) : firstUuid;
      if (!isUuid(after)) throw invalid("page_token", "is damaged");
      const page = await replays.get(principal, replayId, after, checkPageSize(request.pageSize));
      return toReplayPage(page, listed);
    },

    async explain(request, { principal }) {
      return toExplainMessage(await explainer.explain(principal, checkUuid("job_id", request.jobId)));
    },

    async *watch(request, { principal, signal }) {
      for await (const update of jobs.watch(principal, toTargets(request), signal))
        yield toWatchResponse(update);
    },
  });
}

/** The Fault instead of throwing it: one bad item must not fail its neighbours. */
function attempt(read: () => JobSpec): JobSpec | Fault {
  try {
    return read();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
}

async function attemptLinked(submit: () => Promise<Submitted>): Promise<Submitted> {
  try {
    return await submit();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
}

function toSubmitResult(submitted: Submitted): MessageInitShape<typeof SubmitResultSchema> {
  if (submitted instanceof Fault) return { result: { case: "refused", value: toRefusal(submitted) } };
  return { result: { case: "accepted", value: toSubmitResponse(submitted) } };
}

function toSubmitResponse({ jobId, isExisting, replacedJobId }: Exclude<Submitted, Fault>) {
  return { jobId, existing: isExisting, replacedJobId: replacedJobId ?? "" };
}

function toFilter(request: ListRequest): JobFilter {
  const name = (field: "kind" | "queue" | "product") =>
    request[field] === "" ? "" : checkName(field, request[field]);
  checkCount("states", request.states.length, 0, 16);
  return {
    states: request.states.map((state, at) => checkEnum(`states[${at}]`, state as number, JobState, null)),
    kind: name("kind"),
    queue: name("queue"),
    product: name("product"),
    labels: toLabels(request.labels, "labels"),
    submittedAfterMs: checkTime("submitted_after", request.submittedAfter) ?? 0,
  };
}

function toTargets(request: WatchRequest) {
  checkCount("targets", request.targets.length, 1, 100);
  const targets = request.targets.map((target, at) => ({
    jobId: checkUuid(`targets[${at}].job_id`, target.jobId),
    afterRevision: checkInteger(`targets[${at}].after_revision`, target.afterRevision, 0, 2 ** 31 - 1),
  }));
  if (new Set(targets.map((target) => target.jobId)).size < targets.length)
    throw invalid("targets", "must name each job once");
  return targets;
}

function toWatchResponse(update: WatchUpdate): MessageInitShape<typeof WatchResponseSchema> {
  if (update.type === "event") return { update: { case: "event", value: toEventMessage(update.event) } };
  const progress = toProgressMessage(update.progress);
  return { update: { case: "progress", value: { jobId: update.jobId, progress } } };
}
