import type { HubAccess } from "../grpc/hub-channel.js";
import type { BackoffPolicy } from "./backoff.js";

/** Everything a session needs to know; plain values, for it may run on another thread. */
export type SessionPlan = {
  readonly access: HubAccess;
  readonly worker: WorkerProfile;
  /** Leases held at once, at least and at most, by how fast they end; and their bytes. */
  readonly heldJobsMin: number;
  readonly heldJobsMax: number;
  readonly heldBytesMax: number;
  /** Undefined: no journal. The directory is locked by whoever made this plan. */
  readonly journalDirectory: string | undefined;
  /** Hand the verdicts themselves to the runner, not only their counts. */
  readonly wantsVerdicts: boolean;
  readonly tuning: SessionTuning;
};

/** What the hub is told of the worker. */
export type WorkerProfile = {
  readonly name: string;
  readonly kinds: readonly string[];
  readonly capabilities: readonly string[];
  readonly products: readonly string[];
  readonly queues: readonly string[];
  readonly weights: ScoreWeights | undefined;
};

/** Weights of the score; those that are absent are the hub's. */
export type ScoreWeights = {
  readonly age?: number;
  readonly priority?: number;
  readonly retries?: number;
  readonly capabilities?: number;
};

/** Figures that nobody needs to set, except tests that cannot wait. */
export type SessionTuning = {
  readonly backoff: BackoffPolicy;
  /** Bound of the wait for connection and welcome. */
  readonly welcomeWithinMs: number;
  /** When draining: bound of the wait for the last verdicts, and then for the hub to close. */
  readonly verdictsWithinMs: number;
  readonly goodbyeWithinMs: number;
  readonly journalCompactBytes: number;
  readonly journalRetryMs: number;
  /** Results without a verdict beyond these are taken off the credit. */
  readonly openResultsMax: number;
  readonly openResultBytesMax: number;
  /** Bytes of results in one report message. */
  readonly reportBytesMax: number;
  /** Results that end within this time of others travel with them. */
  readonly resultPaceMs: number;
};

export const defaultTuning: SessionTuning = {
  backoff: { firstMs: 100, maxMs: 10_000, resetAfterMs: 30_000 },
  welcomeWithinMs: 10_000,
  verdictsWithinMs: 10_000,
  goodbyeWithinMs: 5_000,
  journalCompactBytes: 4 << 20,
  journalRetryMs: 1_000,
  openResultsMax: 10_000,
  openResultBytesMax: 64 << 20,
  reportBytesMax: 2 << 20,
  resultPaceMs: 10,
};
