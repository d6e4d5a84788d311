import {
  type FailureClass,
  type FailureIdentity,
  type FailureText,
  identifyFailure,
} from "./failure-class.js";

import { lastUuid } from "./uuid.js";

/** A job that ended in the dead letters, as the ledger has it. */
export interface DeadJob {
  readonly jobId: string;
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly attempt: number;
  readonly attemptsMax: number;
  readonly submittedAtMs: number;
  readonly diedAtMs: number;
  readonly failure: FailureText & { readonly permanent: boolean };
  readonly resolution: { readonly atMs: number; readonly by: string; readonly note: string } | null;
}

/** The same with what its failure is of. */
export interface DeadLetter extends DeadJob, FailureIdentity {}

export function toDeadLetter(job: DeadJob): DeadLetter {
  return { ...job, ...identifyFailure(job.failure) };
}

/** Empty texts, nulls: all. */
export interface DeadLetterFilter {
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly code: string;
  readonly failureClass: FailureClass | null;
  readonly fingerprint: string;
  readonly diedAfterMs: number | null;
  readonly diedBeforeMs: number | null;
  /** Resolved ones too. */
  readonly withResolved: boolean;
}

/** What of a filter is not looked at by the ledger. */
export function isOfFailure(letter: DeadLetter, filter: DeadLetterFilter): boolean {
  return (
    (filter.failureClass === null || letter.failureClass === filter.failureClass) &&
    (filter.fingerprint === "" || letter.fingerprint === filter.fingerprint)
  );
}

/** Where a walk from the newest dead letter to the oldest has come to. */
export interface DeadLetterPlace {
  readonly diedAtMicros: string;
  readonly jobId: string;
}

/** Before the newest of all. */
export const newestPlace: DeadLetterPlace = { diedAtMicros: String(2 ** 53 - 1), jobId: lastUuid };

/** Dead letters whose failures are the same. */
export interface DeadLetterCluster extends FailureIdentity {
  readonly code: string;
  readonly count: number;
  /** Kinds of the jobs, most frequent first. */
  readonly kinds: readonly string[];
  readonly oldestDiedAtMs: number;
  readonly newestDiedAtMs: number;
  /** The newest of them. */
  readonly sample: DeadLetter;
}

/** Groups dead letters by fingerprint, largest group first. */
export function clusterOf(letters: Iterable<DeadLetter>): DeadLetterCluster[] {
  const groups = new Map<
    string,
    { sample: DeadLetter; count: number; oldest: number; kinds: Map<string, number> }
  >();
  for (const letter of letters) {
    const group = groups.get(letter.fingerprint) ?? {
      sample: letter,
      count: 0,
      oldest: letter.diedAtMs,
      kinds: new Map<string, number>(),
    };
    groups.set(letter.fingerprint, group);
    group.count += 1;
    group.kinds.set(letter.kind, (group.kinds.get(letter.kind) ?? 0) + 1);
    group.oldest = Math.min(group.oldest, letter.diedAtMs);
    if (letter.diedAtMs > group.sample.diedAtMs) group.sample = letter;
  }
  return [...groups.values()]
    .map(({ sample, count, oldest, kinds }) => ({
      failureClass: sample.failureClass,
      fingerprint: sample.fingerprint,
      pattern: sample.pattern,
      code: sample.failure.code,
      count,
      kinds: [...kinds].sort(([, a], [, b]) => b - a).map(([kind]) => kind),
      oldestDiedAtMs: oldest,
      newestDiedAtMs: sample.diedAtMs,
      sample,
    }))
    .sort((a, b) => b.count - a.count || b.newestDiedAtMs - a.newestDiedAtMs);
}
