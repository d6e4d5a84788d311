export {
  type ChildOutcome,
  FailurePolicy,
  type Job,
  type JobEvent,
  JobEventType,
  JobState,
} from "@holdfast/gen/holdfast/v1/job_pb";
export type { DagNode, WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
export { type Replay, type ReplayedJob, ReplayVerdict } from "@holdfast/gen/holdfast/v1/replay_pb";
export {
  type BatchItem,
  createClient,
  type Dag,
  type HoldfastClient,
  type JobFilter,
  type ReplayOptions,
  type RunInit,
  type Submitted,
  type SubmittedReplay,
  type SubmittedRun,
} from "./client/client.js";
export type { DependencyInit, JobInit } from "./client/job-init.js";
export { type JobResult, resultOf } from "./client/job-result.js";
export type { WatchTarget } from "./client/watch-jobs.js";
export type { ClientOptions } from "./connection-options.js";
export { HoldfastError } from "./grpc/holdfast-error.js";
export {
  DrainTimeoutError,
  EffectLostError,
  JobFailure,
  JobSuspended,
  LeaseLostError,
  type RevokeCause,
  RevokedError,
  TrustWindowError,
} from "./job-errors.js";
export { JournalLockedError } from "./journal/journal-lock.js";
export type { LogEvent } from "./log.js";
export { InvalidOptionsError } from "./option-check.js";
export type {
  AwaitedChannel,
  EffectContext,
  EffectFunction,
  EffectOptions,
  EffectValue,
  Handler,
  HandlerResult,
  JobContext,
  WaitOptions,
} from "./runner/job-context.js";
export type { ChannelName } from "./signals/channel-name.js";
export type { SignalPayload } from "./signals/payload.js";
export type { ProducerOptions, PublishOptions, SignalProducer } from "./signals/producer.js";
export { ReceivedSignal } from "./signals/received-signal.js";
export type {
  CheckpointOptions,
  SignalHandler,
  SignalReducer,
  SubscribeOptions,
} from "./signals/subscribe-options.js";
export type { Subscription } from "./signals/subscription.js";
export type { Published } from "./signals/waiting-signals.js";
export { type RunningWorker, startWorker, type WorkerStats } from "./start-worker.js";
export type { ResultVerdict, WorkerOptions } from "./worker-options.js";
export type { WorkerState } from "./worker-state.js";
