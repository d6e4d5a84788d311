import { randomUUID } from "node:crypto";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";
import type { ExplainResponse } from "@holdfast/gen/holdfast/v1/explain_pb";
import {
  type ChildOutcome,
  FailurePolicy,
  type Job,
  type JobEvent,
  JobState,
} from "@holdfast/gen/holdfast/v1/job_pb";
import {
  type DagNode,
  type GetDagResponse,
  JobService,
  type SubmitResponse,
  type WatchResponse,
} from "@holdfast/gen/holdfast/v1/job_service_pb";
import type { Replay, ReplayedJob } from "@holdfast/gen/holdfast/v1/replay_pb";
import { type ClientOptions, problemsOfAccess, readAccess } from "../connection-options.js";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { count, InvalidOptionsError, isRecord, show, unknownFields } from "../option-check.js";
import { shuffled } from "../session/address-ring.js";
import type { ChannelName } from "../signals/channel-name.js";
import type { SignalPayload } from "../signals/payload.js";
import {
  HubProducer,
  type ProducerOptions,
  type PublishOptions,
  type SignalProducer,
} from "../signals/producer.js";
import type {
  CheckpointOptions,
  SignalHandler,
  SignalReducer,
  SubscribeOptions,
} from "../signals/subscribe-options.js";
import { HubSubscription, type Subscription } from "../signals/subscription.js";
import type { Published } from "../signals/waiting-signals.js";
import { timerMsMax } from "../timer-limit.js";
import { HubConnection, type Repeat } from "./hub-connection.js";
import { type JobInit, jobSpec } from "./job-init.js";
import { type WatchTarget, watchJobs } from "./watch-jobs.js";

/**
 * Submits jobs and follows them. Calls that fail throw a HoldfastError with the hub's reason.
 *
 * With several hubs, a call is made again at the next one when that cannot do anything twice: reads, submits whose
 * jobs all have an idempotency key (D2), and whatever a hub refused because it is stopping.
 */
export type HoldfastClient = {
  /** Submits one job; once this resolves the job is durable (D1). */
  submit(job: JobInit): Promise<Submitted>;
  /** Submits up to 10,000 jobs; each is accepted or refused by itself, and answered in order. */
  submitBatch(jobs: readonly JobInit[]): Promise<BatchItem[]>;
  /**
   * Submits a parent with its children, all or nothing; the parent starts when all children have ended. Give the
   * parent an idempotency key to submit the run once, however often it is tried.
   */
  submitRun(run: RunInit): Promise<SubmittedRun>;
  /** Adds children to a parent that still waits for others, all or nothing. */
  addChildren(parentId: string, children: readonly JobInit[]): Promise<Submitted[]>;
  /** The run that a job belongs to: its jobs, what each waits for, states and times. */
  getDag(jobId: string): Promise<Dag>;
  /** A parent's children with their outcomes, in the order of submission. */
  children(parentId: string): AsyncIterable<ChildOutcome>;
  /** Reads a job, with its events when `history` is true. */
  get(jobId: string, options?: { readonly history?: boolean }): Promise<{ job: Job; history: JobEvent[] }>;
  /** Why a job does not run, and where it ran so far. */
  explain(jobId: string): Promise<ExplainResponse>;
  /** A page of jobs, newest first. A page may be short, or empty: only an empty `nextPageToken` is the end. */
  list(filter?: JobFilter): Promise<{ jobs: Job[]; nextPageToken: string }>;
  /** Cancels a job: at once, or after `graceMs` for its worker to stop. */
  cancel(jobId: string, options?: { readonly reason?: string; readonly graceMs?: number }): Promise<Job>;
  /** Sends a dead-lettered job back to work. */
  retry(jobId: string, options?: { readonly reason?: string }): Promise<Job>;
  /**
   * Submits an ended job, or all jobs of an ended run, once more, with the same inputs and seeds. Completed effects are
   * not done again unless `repeatEffects` is true. Give a `requestId` to do it once, however often it is tried.
   */
  replay(jobId: string, options?: ReplayOptions): Promise<SubmittedReplay>;
  /** A replay, by its id or that of any of its jobs: each job beside the one that it repeats, with a verdict. */
  getReplay(replayId: string): Promise<{ replay: Replay; jobs: ReplayedJob[] }>;
  /** Follows jobs until all have ended, across lost connections. Aborting the signal throws its reason. */
  watch(
    targets: WatchTarget | readonly WatchTarget[],
    options?: { readonly signal?: AbortSignal },
  ): AsyncIterable<WatchResponse>;
  /**
   * Waits until a job has ended; throws a HoldfastError "DEADLINE_EXCEEDED" when that takes longer than `timeoutMs`, 0 to
   * 2,147,483,647 (24.8 days). Without it, it waits without end.
   */
  waitFor(
    jobId: string,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<Job>;
  /** Publishes a signal; resolves once it is durable (D11). Signals of this client to one channel stay in order. */
  publish(channel: ChannelName, payload: SignalPayload, options?: PublishOptions): Promise<Published>;
  /** A producer of its own, for a name that outlives the process. */
  producer(channel: ChannelName, options?: ProducerOptions): SignalProducer;
  /**
   * Calls the handler for each signal of a channel, one at a time and in order. With `checkpoint` the handler makes the
   * next state out of a signal and the state before it, and goes on from the saved state after any crash (D14).
   */
  subscribe(channel: ChannelName, handle: SignalHandler, options?: SubscribeOptions): Subscription;
  subscribe<State>(
    channel: ChannelName,
    reduce: SignalReducer<State>,
    options: CheckpointOptions<State>,
  ): Subscription;
  /**
   * Ends the connection, and with it calls, producers and subscriptions: what has no receipt yet is rejected, and what was
   * not acknowledged comes again.
   */
  close(): void;
};

/** A parent, and what it waits for. */
export type RunInit = {
  readonly parent: JobInit;
  /** 1 to 1,000; `addChildren` adds more. They may depend on each other by idempotency key. */
  readonly children: readonly JobInit[];
  /** What a child that does not succeed means for the others and the parent. Default "fail-fast". */
  readonly failurePolicy?: "fail-fast" | "continue" | "wait-for-all";
  /** Time for running children to stop when the run is cancelled or fails. Default 30,000. */
  readonly stopGraceMs?: number;
};

export type ReplayOptions = {
  /** For the history. */
  readonly reason?: string;
  readonly repeatEffects?: boolean;
  /** 1 to 128 bytes. Default: a new one. */
  readonly requestId?: string;
};

export type SubmittedReplay = {
  /** Id of the replay, which is that of the new job, or of the new run. */
  readonly replayId: string;
  /** Jobs that were submitted. */
  readonly jobs: number;
  readonly existing: boolean;
};

export type SubmittedRun = {
  /** Id of the parent, and of the run. */
  readonly runId: string;
  readonly childIds: readonly string[];
  readonly existing: boolean;
};

export type Dag = Pick<GetDagResponse, "runId" | "failurePolicy" | "jobs" | "childrenFailed" | "nodes">;

/**
 * A job that the hub has: `existing` when its idempotency key had been used before with the same content, or an open job
 * has its unique key; `replacedJobId` when it took the place of one.
 */
export type Submitted = {
  readonly jobId: string;
  readonly existing: boolean;
  readonly replacedJobId?: string;
};

export type BatchItem =
  | ({ readonly outcome: "accepted" } & Submitted)
  | {
      readonly outcome: "refused";
      readonly reason: string;
      readonly message: string;
      readonly metadata: Readonly<Record<string, string>>;
    };

export type JobFilter = {
  readonly states?: readonly JobState[];
  readonly kind?: string;
  readonly queue?: string;
  readonly product?: string;
  /** Jobs that carry all of these. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly submittedAfter?: Date;
  /** 1 to 500. Default 50. */
  readonly pageSize?: number;
  readonly pageToken?: string;
};

const failurePolicies = {
  "fail-fast": FailurePolicy.FAIL_FAST,
  continue: FailurePolicy.CONTINUE,
  "wait-for-all": FailurePolicy.WAIT_FOR_ALL,
} as const;

const terminal: ReadonlySet<JobState> = new Set([JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED]);

/**
 * A client of the hub. It connects with its first call.
 *
 * @throws InvalidOptionsError when an option is wrong
 */
export function createClient(options: ClientOptions & { readonly timeoutMs?: number }): HoldfastClient {
  return openClient(options, (addresses) => shuffled(addresses, Math.random));
}

/** The same with an order of hubs for tests. */
export function openClient(
  options: ClientOptions & { readonly timeoutMs?: number },
  order: (addresses: readonly string[]) => readonly string[],
): HoldfastClient {
  if (!isRecord(options)) {
    throw new InvalidOptionsError("createClient", [
      { field: "options", rule: "an object", given: show(options) },
    ]);
  }
  const problems = [
    ...unknownFields(options, new Set(["address", "addresses", "apiKey", "tls", "timeoutMs"])),
    ...problemsOfAccess(options, process.env),
    ...count("timeoutMs", options.timeoutMs, 1, 86_400_000),
  ];
  if (problems.length > 0) throw new InvalidOptionsError("createClient", problems);
  const access = readAccess(options, process.env);
  const ordered = { ...access, addresses: order(access.addresses) };
  const connection = new HubConnection(ordered, options.timeoutMs ?? 30_000);
  const methods = JobService.method;

  const get: HoldfastClient["get"] = async (jobId, { history = false } = {}) => {
    const response = await connection.unary(methods.get, { jobId, includeHistory: history }, "always");
    return { job: present(response.job), history: response.history };
  };
  const watch: HoldfastClient["watch"] = (targets, { signal } = {}) =>
    watchJobs(connection, isList(targets) ? targets : [targets], signal);

  const producers = new Map<string, HubProducer>();
  const producerOf = (channel: ChannelName) => {
    const key = JSON.stringify(channel);
    let producer = producers.get(key);
    if (producer === undefined || producer.isEnded) {
      producer = new HubProducer(connection, channel);
      producers.set(key, producer);
    }
    return producer;
  };

  return {
    get,
    watch,

    publish: (channel, payload, options) => producerOf(channel).publish(payload, options),

    producer: (channel, options) => new HubProducer(connection, channel, options),

    subscribe: <State>(
      channel: ChannelName,
      handle: SignalHandler | SignalReducer<State>,
      options: SubscribeOptions | CheckpointOptions<State> = {},
    ) => new HubSubscription<State>(connection, channel, handle, options),

    async submit(job) {
      const answer = await connection.unary(methods.submit, { job: jobSpec(job, "submit") }, repeatOf([job]));
      return toSubmitted(answer);
    },

    async submitBatch(jobs) {
      const request = { jobs: jobs.map((job, i) => jobSpec(job, `submitBatch, job ${i}`)) };
      const { results } = await connection.unary(methods.submitBatch, request, repeatOf(jobs));
      return results.map(({ result }): BatchItem => {
        if (result.case === "accepted") {
          return { outcome: "accepted", ...toSubmitted(result.value) };
        }
        if (result.case === undefined) throw new Error("the hub left an item of the batch unanswered");
        const { reason, message, metadata } = result.value;
        return { outcome: "refused", reason, message, metadata };
      });
    },

    async submitRun({ parent, children, failurePolicy = "fail-fast", stopGraceMs }) {
      if (!Object.hasOwn(failurePolicies, failurePolicy)) {
        const rule = `one of ${Object.keys(failurePolicies).map(show).join(", ")}`;
        throw new InvalidOptionsError("submitRun", [
          { field: "failurePolicy", rule, given: show(failurePolicy) },
        ]);
      }
      const request = {
        parent: jobSpec(parent, "submitRun, parent"),
        children: children.map((child, i) => jobSpec(child, `submitRun, child ${i}`)),
        failurePolicy: failurePolicies[failurePolicy],
        ...(stopGraceMs === undefined ? {} : { stopGrace: durationFromMs(stopGraceMs) }),
      };
      const { runId, childIds, existing } = await connection.unary(
        methods.submitRun,
        request,
        repeatOf([parent]),
      );
      return { runId, childIds, existing };
    },

    async addChildren(jobId, children) {
      const request = {
        jobId,
        children: children.map((child, i) => jobSpec(child, `addChildren, child ${i}`)),
      };
      const answer = await connection.unary(methods.addChildren, request, repeatOf(children));
      return answer.children.map(({ jobId, existing }) => ({ jobId, existing }));
    },

    async getDag(jobId) {
      const nodes: DagNode[] = [];
      for (let pageToken = ""; ; ) {
        const page = await connection.unary(methods.getDag, { jobId, pageToken, pageSize: 10_000 }, "always");
        nodes.push(...page.nodes);
        pageToken = page.nextPageToken;
        const { runId, failurePolicy, jobs, childrenFailed } = page;
        if (pageToken === "") return { runId, failurePolicy, jobs, childrenFailed, nodes };
      }
    },

    async *children(jobId) {
      for (let pageToken = ""; ; ) {
        const page = await connection.unary(
          methods.listChildren,
          { jobId, pageToken, pageSize: 500 },
          "always",
        );
        yield* page.children;
        pageToken = page.nextPageToken;
        if (pageToken === "") return;
      }
    },
    explain: (jobId) => connection.unary(methods.explain, { jobId }, "always"),

    async list({ states = [], labels = {}, submittedAfter, ...filter } = {}) {
      const after = submittedAfter === undefined ? {} : { submittedAfter: timestampFromDate(submittedAfter) };
      const request = { ...filter, states: [...states], labels: { ...labels }, ...after };
      const { jobs, nextPageToken } = await connection.unary(methods.list, request, "always");
      return { jobs, nextPageToken };
    },

    async cancel(jobId, { reason = "", graceMs = 0 } = {}) {
      const grace = graceMs > 0 ? { grace: durationFromMs(graceMs) } : {};
      const request = { jobId, reason, ...grace };
      return present((await connection.unary(methods.cancel, request, "if refused")).job);
    },

    async retry(jobId, { reason = "" } = {}) {
      return present((await connection.unary(methods.retry, { jobId, reason }, "if refused")).job);
    },

    async replay(jobId, { reason = "", repeatEffects = false, requestId = randomUUID() } = {}) {
      const request = { jobId, reason, repeatEffects, requestId };
      const { replayId, jobs, existing } = await connection.unary(methods.replay, request, "always");
      return { replayId, jobs, existing };
    },

    async getReplay(replayId) {
      const jobs: ReplayedJob[] = [];
      for (let pageToken = ""; ; ) {
        const page = await connection.unary(
          methods.getReplay,
          { replayId, pageToken, pageSize: 500 },
          "always",
        );
        jobs.push(...page.jobs);
        pageToken = page.nextPageToken;
        if (page.replay === undefined) throw new Error("the hub's answer has no replay");
        if (pageToken === "") return { replay: page.replay, jobs };
      }
    },

    async waitFor(jobId, { timeoutMs, signal } = {}) {
      if (timeoutMs !== undefined && !(timeoutMs >= 0 && timeoutMs <= timerMsMax))
        throw new RangeError(`timeoutMs must be from 0 to ${timerMsMax}, got ${timeoutMs}`);
      const timeout = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
      const stop = AbortSignal.any([signal, timeout].filter((given) => given !== undefined));
      try {
        for await (const { update } of watch(jobId, { signal: stop })) {
          if (update.case === "event" && terminal.has(update.value.state)) break;
        }
      } catch (error) {
        if (timeout?.aborted && error === timeout.reason) throw waitedTooLong(jobId, timeoutMs as number);
        throw error;
      }
      return (await get(jobId)).job;
    },

    close: () => connection.close(),
  };
}

function toSubmitted({ jobId, existing, replacedJobId }: SubmitResponse): Submitted {
  return { jobId, existing, ...(replacedJobId === "" ? {} : { replacedJobId }) };
}

/** A job with an idempotency key is there once, however often it is submitted (D2). */
function repeatOf(jobs: readonly JobInit[]): Repeat {
  return jobs.every(({ idempotencyKey }) => idempotencyKey) ? "always" : "if refused";
}

function isList(targets: WatchTarget | readonly WatchTarget[]): targets is readonly WatchTarget[] {
  return Array.isArray(targets);
}

function present(job: Job | undefined): Job {
  if (job === undefined) throw new Error("the hub's answer has no job");
  return job;
}

function waitedTooLong(jobId: string, timeoutMs: number): HoldfastError {
  return new HoldfastError({
    reason: "DEADLINE_EXCEEDED",
    message: `job ${jobId} has not ended within ${timeoutMs} ms`,
    metadata: { job_id: jobId },
    grpcCode: status.DEADLINE_EXCEEDED,
    retryAfterMs: undefined,
  });
}
