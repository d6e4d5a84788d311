import { hash } from "node:crypto";
import type { Ref } from "./lane.js";

/** What ended a job's wait for a signal. Kept as the reason of its event. */
export const WakeReason = { Signal: "SIGNAL", Timeout: "TIMEOUT" } as const;
export type WakeReason = (typeof WakeReason)[keyof typeof WakeReason];

/** Jobs that one transaction woke. */
export interface Woken {
  readonly refs: readonly Ref[];
  readonly reason: WakeReason;
  /** There are more than one transaction may wake: somebody has to go on. */
  readonly isMore: boolean;
}

/** What a suspended job waits for, for people. */
export interface AwaitedPlace {
  readonly owner: string;
  readonly channel: string;
  readonly partition: number;
  readonly afterSequence: number;
  readonly sinceMs: number;
  /** null: it waits as long as it takes. */
  readonly timeoutAtMs: number | null;
}

/** The place in a channel that a job waits for. */
export interface WaitPlace {
  readonly channelId: number;
  readonly partition: number;
  readonly afterSequence: number;
}

/** Tells a request that is sent again from another one of the same lease, as the fingerprint of an outcome does (D5). */
export function waitFingerprint({ channelId, partition, afterSequence }: WaitPlace): bigint {
  const text = `wait\0${channelId}\0${partition}\0${afterSequence}`;
  return BigInt.asUintN(63, hash("sha256", text, "buffer").readBigUInt64BE());
}
