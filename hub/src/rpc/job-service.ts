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
import type { JobSpec } from "../domain/job-spec.js";
import { JobState } from "../domain/job-state.js";
import type { JobFilter } from "../domain/job-view.js";
import { isUuid, lastUuid } from "../domain/uuid.js";
import type { Jobs, Submitted, WatchUpdate } from "../services/jobs.js";
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
import { type ImplementedService, implement } from "./implementation.js";
import {
  toEventMessage,
  toJobMessage,
  toJobSpec,
  toLabels,
  toNoteMessage,
  toProgressMessage,
} from "./job-messages.js";
import { dayMs, type EdgeLimits } from "./limits.js";
import { decodePageToken, encodePageToken } from "./page-token.js";

const noNotes: JobNotes = { notes: [], isTruncated: false };

export function jobService(jobs: Jobs, limits: EdgeLimits): ImplementedService {
  return implement(JobService, {
    async submit(request, { principal }) {
      if (!request.job) throw invalid("job", "is required");
      const [submitted] = await jobs.submit(principal, [toJobSpec(request.job, "job", limits)]);
      if (submitted instanceof Fault) throw submitted;
      return { jobId: submitted?.jobId ?? "", existing: submitted?.isExisting ?? false };
    },

    async submitBatch(request, { principal }) {
      checkCount("jobs", request.jobs.length, 1, limits.batchJobsMax);
      const specs = request.jobs.map((job, at) => attempt(() => toJobSpec(job, `jobs[${at}]`, limits)));
      return { results: (await jobs.submit(principal, specs)).map(toSubmitResult) };
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

function toSubmitResult(submitted: Submitted): MessageInitShape<typeof SubmitResultSchema> {
  if (submitted instanceof Fault) return { result: { case: "refused", value: toRefusal(submitted) } };
  const { jobId, isExisting } = submitted;
  return { result: { case: "accepted", value: { jobId, existing: isExisting } } };
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
