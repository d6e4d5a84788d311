import { describe, expect, it } from "vitest";
import {
  candidatesOf,
  decisionsOf,
  type LanePlace,
  mismatchesOf,
  reasonsOf,
  type SessionFacts,
  WaitCause,
  type WaitFacts,
} from "./explain.js";
import type { SessionProfile } from "./fleet-view.js";
import { noFairness } from "./job-spec.js";
import { JobEventType, JobState } from "./job-state.js";
import type { JobEvent, JobView } from "./job-view.js";

const nowMs = 1_000_000;

function job(overrides: Partial<JobView> = {}): JobView {
  return {
    ...{ jobId: "j", product: "press", queue: "night", kind: "order", priority: 2, capabilities: ["gpu"] },
    ...{
      source: "",
      fairness: noFairness,
      options: {},
      state: JobState.Ready,
      attempt: 0,
      attemptsMax: 5,
      fencingToken: 0n,
      revision: 1,
    },
    ...{ submittedAtMs: 0, runAtMs: null, startedAtMs: null, finishedAtMs: null, deadlineMs: null },
    ...{ sessionId: null, outcome: null, runId: null, progress: null, checkpointSequence: 0n },
    ...{ payload: new Uint8Array(), contentType: "" },
    ...overrides,
  };
}

function session(
  profile: Partial<SessionProfile> = {},
  more: { isDraining?: boolean; credit?: SessionFacts["credit"] } = {},
): SessionFacts {
  const whole = { kinds: ["order"], capabilities: ["gpu"], products: [], queues: [], ...profile };
  const about = {
    sessionId: "s",
    workerName: "w",
    subject: "",
    attachedAtMs: 0,
    expiresAtMs: 0,
    writerId: 1,
  };
  const { isDraining = false, credit = { jobs: 1, bytes: 100 } } = more;
  return { session: { ...about, profile: whole, isDraining }, credit };
}

const awaits = {
  owner: "j",
  channel: "approval",
  partition: 0,
  afterSequence: 2,
  sinceMs: 0,
  timeoutAtMs: 9,
};
const atHead: LanePlace = { jobsAhead: 0, isAtLeast: false, bytes: 10, lanesAhead: 0, share: null };
const failure = {
  type: "failure",
  code: "HTTP_503",
  message: "",
  permanent: false,
  retryAfterMs: 0,
} as const;

/** A job of which nothing more is known. */
const nothing: WaitFacts = { place: null, sessions: [], gate: null, waitedFor: null };

describe("why a job does not run", () => {
  it.each([
    ["it has succeeded", job({ state: JobState.Succeeded }), null, [], ["Ended"]],
    ["it is dead", job({ state: JobState.Dead, outcome: failure }), null, [], ["Ended"]],
    ["it runs", job({ state: JobState.Leased, sessionId: "s" }), null, [], ["Leased"]],
    ["it waits for others", job({ state: JobState.Blocked }), null, [], ["OtherJobs"]],
    ["it is parked", job({ state: JobState.Parked }), null, [], ["Gate"]],
    ["it waits for a signal", job({ state: JobState.Parked, awaits }), null, [], ["Signal"]],
    ["its time has not come", job({ state: JobState.Scheduled, runAtMs: 5 }), null, [], ["RunAt"]],
    ["its backoff lasts", job({ state: JobState.Scheduled, attempt: 1, runAtMs: 5 }), null, [], ["Backoff"]],
    ["nobody is there", job(), atHead, [], ["NoSession"]],
    ["nobody has the handler", job(), atHead, [session({ kinds: ["mail"] })], ["NoSession"]],
    ["all are full", job(), atHead, [session({}, { credit: { jobs: 0, bytes: 9 } })], ["NoCredit"]],
    [
      "it is too large for all",
      job(),
      atHead,
      [session({}, { credit: { jobs: 1, bytes: 9 } })],
      ["NoCredit"],
    ],
    ["older ones come first", job(), { ...atHead, jobsAhead: 3 }, [session()], ["Lane"]],
    [
      "other fairness keys take turns with its own",
      job({ fairness: { key: "a", weight: 2 } }),
      { ...atHead, share: { keysBeside: 2, weight: 2, weightSum: 9 } },
      [session()],
      ["FairShare"],
    ],
    ["other lanes come first", job(), { ...atHead, lanesAhead: 2 }, [session()], ["OtherLanes"]],
    ["nothing keeps it", job(), atHead, [session()], ["Imminent"]],
    ["another hub's session may take it", job(), atHead, [session({}, { credit: null })], ["Imminent"]],
    [
      "several things at once",
      job({ deadlineMs: nowMs + 5 }),
      { ...atHead, jobsAhead: 10_000, isAtLeast: true },
      [],
      ["NoSession", "Lane", "Deadline"],
    ],
  ] as const)("%s", (_, view, place, sessions, causes) => {
    const reasons = reasonsOf(view, { ...nothing, place, sessions }, nowMs);

    expect(reasons.map(({ cause }) => cause)).toEqual(causes.map((name) => WaitCause[name]));
    for (const { message } of reasons) expect(message).toMatch(/\.$/);
  });

  it("says until when, where a time is known", () => {
    expect(reasonsOf(job({ state: JobState.Scheduled, runAtMs: 7 }), nothing, nowMs)).toMatchObject([
      { untilMs: 7 },
    ]);
    expect(reasonsOf(job({ state: JobState.Dead, deadlineMs: 7 }), nothing, nowMs)).toHaveLength(1);
  });
});

describe("what a job waits for", () => {
  const child = { jobId: "c", kind: "part", state: JobState.Leased, isChild: true };

  it.each([
    ["one job", 1, /^It waits for child c of kind part\.$/],
    ["several", 3, /^It waits for 3 jobs, among them child c of kind part\.$/],
  ])("is named: %s", (_, total, message) => {
    const waitedFor = { total, jobs: [child] };
    const [reason] = reasonsOf(job({ state: JobState.Blocked }), { ...nothing, waitedFor }, nowMs);
    expect(reason?.message).toMatch(message);
  });

  it("comes first when it is a gate, with the time at which that opens", () => {
    const gate = { reason: "queue:a/b is paused", untilMs: 9 };
    const facts = { ...nothing, place: { ...atHead, jobsAhead: 2 }, gate };
    expect(reasonsOf(job(), facts, nowMs)).toMatchObject([
      { cause: WaitCause.Gate, message: gate.reason, untilMs: 9 },
      { cause: WaitCause.NoSession },
      { cause: WaitCause.Lane },
    ]);
  });
});

describe("a session that cannot take a job", () => {
  it.each([
    [{ kinds: ["mail"] }, "kind order"],
    [{ capabilities: ["arm"] }, "capability gpu"],
    [{ products: ["lathe"] }, "product press"],
    [{ queues: ["day"] }, "queue night"],
  ])("of profile %j is told what it lacks", (profile, lacking) => {
    expect(mismatchesOf(job(), session(profile).session)).toEqual([expect.stringContaining(lacking)]);
  });

  it("is told that it drains", () => {
    expect(mismatchesOf(job(), session({}, { isDraining: true }).session)).toEqual(["is draining"]);
  });

  it("comes after those that can, the nearest first", () => {
    const far = session({ kinds: [], capabilities: [] });
    const near = session({ kinds: [] });
    const full = session({}, { credit: { jobs: 0, bytes: 0 } });
    const good = session();

    const candidates = candidatesOf(job(), [far, near, full, good], 10);

    expect(candidates.map(({ mismatches }) => mismatches.length)).toEqual([0, 1, 1, 2]);
    expect(candidates[1]?.mismatches[0]).toContain("no credit");
  });
});

describe("where a job ran", () => {
  it("is each of its grants, with how that ended", () => {
    const event = (type: JobEventType, atMs: number, more: Partial<JobEvent> = {}): JobEvent => ({
      ...{
        eventId: "",
        jobId: "j",
        type,
        state: JobState.Ready,
        revision: atMs,
        attempt: 1,
        fencingToken: 1n,
      },
      ...{ sessionId: null, reason: "", atMs, ...more },
    });

    const decisions = decisionsOf([
      event(JobEventType.Submitted, 1),
      event(JobEventType.Leased, 2, { sessionId: "a" }),
      event(JobEventType.EffectCompleted, 3),
      event(JobEventType.RetryScheduled, 4, { reason: "BOOM: it broke" }),
      event(JobEventType.Ready, 5),
      event(JobEventType.Leased, 6, { sessionId: "b", attempt: 2 }),
    ]);

    expect(decisions).toEqual([
      {
        ...{ sessionId: "a", attempt: 1, grantedAtMs: 2, endedAtMs: 4 },
        ...{ end: JobEventType.RetryScheduled, reason: "BOOM: it broke" },
      },
      { sessionId: "b", attempt: 2, grantedAtMs: 6, endedAtMs: null, end: null, reason: "" },
    ]);
  });
});
