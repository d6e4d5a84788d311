// Why a job is where it is: from what the ledger and one hub know of it, in words that each name one cause.
import type { Credit } from "./credit.js";
import type { SessionView } from "./fleet-view.js";
import { JobEventType, JobState } from "./job-state.js";
import type { JobEvent, JobView } from "./job-view.js";
import type { AwaitedPlace } from "./wait.js";

/** A cause. The numbers are sent on the wire (holdfast.v1.WaitCause). */
export const WaitCause = {
  /** It has ended. */
  Ended: 1,
  /** A session holds its lease. */
  Leased: 2,
  /** Other jobs have to end first. */
  OtherJobs: 3,
  /** Its time to run has not come. */
  RunAt: 4,
  /** The backoff after a failure is not over. */
  Backoff: 5,
  /** A gate stopped it. */
  Gate: 6,
  /** Older jobs of its lane come first. */
  Lane: 7,
  /** Heads of other lanes that the same sessions serve score higher. */
  OtherLanes: 8,
  /** No live session offers what it asks for. */
  NoSession: 9,
  /** Sessions that match have no room, as far as this hub knows. */
  NoCredit: 10,
  /** Nothing keeps it: it is about to be claimed. */
  Imminent: 11,
  /** It ends if it has not by then. */
  Deadline: 12,
  /** Other fairness keys of its class take turns with its own. */
  FairShare: 13,
  /** It is suspended until a signal comes. */
  Signal: 15,
} as const;
export type WaitCause = (typeof WaitCause)[keyof typeof WaitCause];

export interface WaitReason {
  readonly cause: WaitCause;
  /** For people. */
  readonly message: string;
  /** When it ends, or takes effect; null when no time is known. */
  readonly untilMs: number | null;
}

/** A live session and, if this hub holds it, its credit. */
export interface SessionFacts {
  readonly session: SessionView;
  readonly credit: Credit | null;
}

/** Where a ready job stands in its lane. */
export interface LanePlace {
  readonly jobsAhead: number;
  /** There are more than were counted. */
  readonly isAtLeast: boolean;
  /** Bytes of payload and checkpoint: what a lease costs in credit. */
  readonly bytes: number;
  /** Other lanes whose heads score higher and that a matching session serves. */
  readonly lanesAhead: number;
  /** Other fairness keys that take turns with its own; null when there are none, or it has no key. */
  readonly share: KeyShare | null;
}

/** Weights are relative: of `weightSum` jobs of all keys, `weight` are this key's. */
export interface KeyShare {
  readonly keysBeside: number;
  readonly weight: number;
  readonly weightSum: number;
}

/** A gate that the job waits at. */
export interface GateStop {
  /** For people. */
  readonly reason: string;
  /** When it opens by itself; null when no time is known. */
  readonly untilMs: number | null;
}

/** What a blocked job waits for. */
export interface WaitedFor {
  /** Jobs that have not ended, children included. */
  readonly total: number;
  /** The first of them. */
  readonly jobs: readonly {
    readonly jobId: string;
    readonly kind: string;
    readonly state: JobState;
    readonly isChild: boolean;
  }[];
}

export interface Candidate {
  readonly session: SessionView;
  /** What keeps it from taking the job, one each; none: it may. */
  readonly mismatches: readonly string[];
}

/** One grant of the job, and how it ended. */
export interface Decision {
  readonly sessionId: string;
  readonly attempt: number;
  readonly grantedAtMs: number;
  readonly endedAtMs: number | null;
  /** What ended it; null while it lasts. */
  readonly end: JobEventType | null;
  readonly reason: string;
}

/** What the session lacks for the job; not whether it has room. */
export function mismatchesOf(job: JobView, { profile, isDraining }: SessionView): string[] {
  const isWanted = (wanted: readonly string[], name: string) => wanted.length === 0 || wanted.includes(name);
  return [
    ...(profile.kinds.includes(job.kind) ? [] : [`has no handler for kind ${job.kind}`]),
    ...job.capabilities
      .filter((capability) => !profile.capabilities.includes(capability))
      .map((capability) => `does not offer capability ${capability}`),
    ...(isWanted(profile.products, job.product) ? [] : [`does not take product ${job.product}`]),
    ...(isWanted(profile.queues, job.queue) ? [] : [`does not take queue ${job.queue}`]),
    ...(isDraining ? ["is draining"] : []),
  ];
}

/** Why a session that matches cannot take the job just now; null when it can, or its hub is another. */
function roomMismatch(credit: Credit | null, bytes: number): string | null {
  if (!credit) return null;
  if (credit.jobs <= 0) return "has no credit: it runs as many jobs as it wants";
  return credit.bytes < bytes ? `has credit for ${credit.bytes} bytes; the job needs ${bytes}` : null;
}

/** Sessions, those that match best first. */
export function candidatesOf(job: JobView, sessions: readonly SessionFacts[], bytes: number): Candidate[] {
  return sessions
    .map(({ session, credit }) => {
      const lacking = mismatchesOf(job, session);
      const room = lacking.length === 0 ? roomMismatch(credit, bytes) : null;
      return { session, mismatches: room ? [room] : lacking, isMatch: lacking.length === 0 };
    })
    .sort((a, b) => Number(b.isMatch) - Number(a.isMatch) || a.mismatches.length - b.mismatches.length)
    .map(({ session, mismatches }) => ({ session, mismatches }));
}

/** What is known of a job's waiting. */
export interface WaitFacts {
  /** Only of a ready one. */
  readonly place: LanePlace | null;
  readonly sessions: readonly SessionFacts[];
  /** The gate that stopped it, or that holds its lane. */
  readonly gate: GateStop | null;
  /** Only of a blocked one. */
  readonly waitedFor: WaitedFor | null;
}

/** Every cause that keeps the job where it is, the nearest first. */
export function reasonsOf(job: JobView, facts: WaitFacts, nowMs: number): WaitReason[] {
  const reasons = causesOfState(job, facts);
  const { deadlineMs } = job;
  if (deadlineMs !== null && job.state < JobState.Succeeded)
    reasons.push({
      cause: WaitCause.Deadline,
      message:
        deadlineMs > nowMs ? "It ends as a dead letter unless it ends before." : "Its deadline has passed.",
      untilMs: deadlineMs,
    });
  const { startByMs } = job.options;
  if (startByMs !== undefined && job.attempt === 0 && job.startedAtMs === null && job.state < JobState.Leased)
    reasons.push({
      cause: WaitCause.Deadline,
      message: "It ends as a dead letter unless it starts before.",
      untilMs: startByMs,
    });
  return reasons;
}

function causesOfState(job: JobView, facts: WaitFacts): WaitReason[] {
  const one = (cause: WaitCause, message: string, untilMs: number | null = null) => [
    { cause, message, untilMs },
  ];
  switch (job.state) {
    case JobState.Succeeded:
    case JobState.Cancelled:
      return one(WaitCause.Ended, "It has ended.");
    case JobState.Dead:
      return one(WaitCause.Ended, `It is a dead letter${failureText(job)}. An operator may retry it.`);
    case JobState.Leased:
      return one(WaitCause.Leased, `Session ${job.sessionId} holds it.`);
    case JobState.Blocked:
      return one(WaitCause.OtherJobs, waitedForText(facts.waitedFor));
    case JobState.Parked:
      return job.awaits
        ? one(WaitCause.Signal, awaitsText(job.awaits, job.jobId), job.awaits.timeoutAtMs)
        : one(WaitCause.Gate, facts.gate?.reason ?? "A gate stopped it.", facts.gate?.untilMs ?? null);
    case JobState.Scheduled:
      return job.attempt > 0
        ? one(
            WaitCause.Backoff,
            `Attempt ${job.attempt} failed${failureText(job)}; the next one waits.`,
            job.runAtMs,
          )
        : one(WaitCause.RunAt, "It was submitted to run later.", job.runAtMs);
    case JobState.Ready:
      return causesOfWaiting(job, facts);
  }
}

function waitedForText(waitedFor: WaitedFor | null): string {
  const first = waitedFor?.jobs[0];
  if (!waitedFor || !first) return "Jobs that it waits for have not ended.";
  const named = `${first.isChild ? "child" : "job"} ${first.jobId} of kind ${first.kind}`;
  return waitedFor.total === 1
    ? `It waits for ${named}.`
    : `It waits for ${waitedFor.total} jobs, among them ${named}.`;
}

function causesOfWaiting(job: JobView, { place, sessions, gate }: WaitFacts): WaitReason[] {
  const reasons: WaitReason[] = [];
  const add = (cause: WaitCause, message: string) => reasons.push({ cause, message, untilMs: null });
  if (gate) reasons.push({ cause: WaitCause.Gate, message: gate.reason, untilMs: gate.untilMs });
  const matching = sessions.filter(({ session }) => mismatchesOf(job, session).length === 0);
  const bytes = place?.bytes ?? 0;
  if (matching.length === 0)
    add(
      WaitCause.NoSession,
      sessions.length === 0
        ? "No worker is attached."
        : `None of ${sessions.length} live sessions can take it; the candidates say what each lacks.`,
    );
  else if (matching.every(({ credit }) => roomMismatch(credit, bytes) !== null))
    add(WaitCause.NoCredit, `All ${matching.length} sessions that could take it are full.`);
  if (place && place.jobsAhead > 0)
    add(
      WaitCause.Lane,
      `${place.isAtLeast ? "At least " : ""}${place.jobsAhead} older jobs of its lane come first.`,
    );
  if (place && place.lanesAhead > 0)
    add(WaitCause.OtherLanes, `The heads of ${place.lanesAhead} other lanes score higher.`);
  if (place?.share)
    add(
      WaitCause.FairShare,
      `Fairness key ${job.fairness.key} takes turns with ${place.share.keysBeside} others: ${place.share.weight} of ${place.share.weightSum} jobs are its own.`,
    );
  if (reasons.length === 0) add(WaitCause.Imminent, "Nothing keeps it: it is about to be claimed.");
  return reasons;
}

function awaitsText({ owner, channel, partition, afterSequence }: AwaitedPlace, jobId: string): string {
  const whose = owner === jobId ? "its channel" : `${owner}'s channel`;
  const where = partition === 0 ? channel : `${channel}, partition ${partition}`;
  return `It is suspended until a signal after ${afterSequence} comes on ${whose} ${where}.`;
}

function failureText({ outcome }: JobView): string {
  return outcome?.type === "failure" ? ` with ${outcome.code}` : "";
}

const staysLeased: readonly JobEventType[] = [JobEventType.EffectCompleted, JobEventType.CancelRequested];

/** Every grant of the job, from its history, oldest first: where it ran, and how that ended. */
export function decisionsOf(history: readonly JobEvent[]): Decision[] {
  const decisions: Decision[] = [];
  for (const event of history) {
    const last = decisions.at(-1);
    if (event.type === JobEventType.Leased)
      decisions.push({
        sessionId: event.sessionId ?? "",
        attempt: event.attempt,
        grantedAtMs: event.atMs,
        endedAtMs: null,
        end: null,
        reason: "",
      });
    else if (last && last.end === null && !staysLeased.includes(event.type))
      decisions[decisions.length - 1] = {
        ...last,
        endedAtMs: event.atMs,
        end: event.type,
        reason: event.reason,
      };
  }
  return decisions;
}
