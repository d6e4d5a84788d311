import type { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { CallFailure } from "./grpc/holdfast-error.js";
import type { RevokeCause } from "./job-errors.js";
import type { LogEvent } from "./log.js";
import type { EncodedResults } from "./wire/result-batch.js";
import type { Spent } from "./wire/spend-field.js";
import type { WorkerState } from "./worker-state.js";

/**
 * The boundary between the runner, which runs handlers on the application's thread, and the session, which speaks to
 * the hub, usually on a thread of its own. Everything that crosses it is plain data, in batches. A lease is named by
 * its `ref`, a number that the session gives out and never gives out again.
 *
 * Every lease that the session sends is answered exactly once: by a result or by a release. That answer is the last
 * word on its ref from the runner; what the session says of it afterwards finds nobody and is ignored.
 */
export type Port<Out, In> = {
  /** `transfer` lists buffers that the sender gives up. */
  post(message: Out, transfer?: readonly ArrayBuffer[]): void;
  /** Set once, before anything can arrive. */
  onMessage(receive: (message: In) => void): void;
};

export type ToSession =
  /** Attempts ended: their results are to be kept and reported. */
  | ({ readonly type: "results" } & EncodedResults)
  /** Leases that end without a result. Those that still stand are given back to the hub. */
  | { readonly type: "released"; readonly refs: readonly number[]; readonly isStarted: boolean }
  | {
      readonly type: "checkpoint";
      readonly ref: number;
      readonly sequence: number;
      readonly state: Uint8Array;
    }
  /** `act` is a holdfast.v1.EffectAct; it is sent until it is answered, as long as the lease stands. */
  | {
      readonly type: "effect";
      readonly ref: number;
      readonly requestId: string;
      readonly act: Uint8Array;
    }
  /** `wait` is a holdfast.v1.Wait; it is sent until it is answered, as long as the lease stands. One at a time. */
  | { readonly type: "wait"; readonly ref: number; readonly requestId: string; readonly wait: Uint8Array }
  | { readonly type: "progress"; readonly items: readonly ProgressItem[] }
  /** The service that the job calls asked to slow down. */
  | { readonly type: "throttled"; readonly ref: number; readonly retryAfterMs: number }
  /** What an attempt has spent so far, all in all. */
  | ({ readonly type: "spend"; readonly ref: number } & Spent)
  /** The worker is leaving: take no more leases. */
  | { readonly type: "drain" }
  /** Every lease has been answered: wait for the verdicts, then close. */
  | { readonly type: "finish" };

export type ProgressItem = { readonly ref: number; readonly percent: number; readonly message: string };

export type ToRunner =
  /** Each pair of `places` is the start and the end of a holdfast.v1.Lease in `bytes`; refs count up from `firstRef`. */
  | {
      readonly type: "leases";
      readonly bytes: Uint8Array;
      readonly firstRef: number;
      readonly places: Uint32Array<ArrayBuffer>;
    }
  /** These leases are gone: stop their handlers, report nothing. */
  | { readonly type: "lost"; readonly refs: readonly number[]; readonly cause: LossCause }
  /** Nobody knows whether these leases still stand: those that have not started must not. */
  | { readonly type: "doubtful"; readonly refs: readonly number[] }
  /** The lease stands for a while, but the handler is asked to stop. */
  | { readonly type: "revoked"; readonly ref: number; readonly cause: RevokeCause; readonly message: string }
  | {
      readonly type: "checkpoint-saved";
      readonly ref: number;
      readonly sequence: number;
      readonly verdict: Verdict;
      readonly refusal: string;
    }
  /** A holdfast.v1.EffectVerdict. */
  | { readonly type: "effect-verdict"; readonly ref: number; readonly verdict: Uint8Array }
  /** A holdfast.v1.WaitVerdict, any but a suspension. */
  | { readonly type: "wait-verdict"; readonly ref: number; readonly verdict: Uint8Array }
  /** The job waits for a signal; the lease has ended. */
  | { readonly type: "suspended"; readonly ref: number }
  /** Final verdicts, counted; the bytes of the holdfast.v1.Verdicts itself when the application wants to see each. */
  | { readonly type: "verdicts"; readonly counts: VerdictCounts; readonly bytes: Uint8Array | undefined }
  | ({ readonly type: "attached" } & HubLimits)
  | { readonly type: "state"; readonly state: WorkerState }
  | { readonly type: "log"; readonly event: LogEvent }
  /** The last message. */
  | { readonly type: "closed"; readonly failure: SessionFailure | undefined };

/** What the hub takes of an attempt. */
export type HubLimits = {
  readonly resultBytesMax: number;
  readonly checkpointBytesMax: number;
  readonly effectResultBytesMax: number;
};

export type VerdictCounts = {
  readonly committed: number;
  readonly duplicate: number;
  readonly stale: number;
  readonly refused: number;
};

export type LossCause =
  | { readonly kind: "trust-window" }
  | { readonly kind: "taken"; readonly message: string }
  | { readonly kind: "revoked"; readonly cause: RevokeCause; readonly message: string };

/** Why the session could not go on. */
export type SessionFailure =
  | { readonly kind: "refused"; readonly failure: CallFailure }
  | { readonly kind: "broken"; readonly message: string };
