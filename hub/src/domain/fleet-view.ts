import type { ScoreWeights } from "./score-weights.js";

/** What a worker said of itself, as kept with its session. */
export interface SessionProfile {
  readonly kinds: readonly string[];
  readonly capabilities: readonly string[];
  readonly products: readonly string[];
  readonly queues: readonly string[];
  /** Its own weights of the score; absent when it has none. */
  readonly weights?: Partial<ScoreWeights>;
}

/** A live session as readers see it. */
export interface SessionView {
  readonly sessionId: string;
  readonly workerName: string;
  readonly subject: string;
  readonly profile: SessionProfile;
  readonly attachedAtMs: number;
  readonly expiresAtMs: number;
  readonly writerId: number;
  readonly isDraining: boolean;
}

/** A hub that is connected to the ledger. */
export interface HubView {
  readonly writerId: number;
  readonly hubVersion: string;
  readonly host: string;
  readonly startedAtMs: number;
  /** Live sessions that it holds, of the tenant that was asked for. */
  readonly sessions: number;
}

/** What a hub finds its ledger to be. */
export interface LedgerFacts {
  readonly postgresVersion: string;
  readonly migration: number;
  readonly synchronousCommit: string;
  readonly roundTripMs: number;
}
