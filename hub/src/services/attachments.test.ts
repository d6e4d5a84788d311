import { expect, it } from "vitest";
import { until } from "../../test/harness/raw-wait.js";
import { idOf } from "../../test/harness/refs.js";
import { principal, RememberingOutbox } from "../../test/harness/sessions.js";
import { Fault } from "../domain/fault.js";
import type { ResumeResult, StandingLease } from "../ledger/resume-session.js";
import { Acknowledgements } from "./acknowledgements.js";
import { Attachments } from "./attachments.js";
import type { LeaseToReturn } from "./leases-back.js";
import { SessionLeases } from "./session-leases.js";
import { Sessions } from "./sessions.js";
import { type UnaryLink, unaryLink } from "./worker-session.js";

const sessionId = idOf(1);
const standing = (number: number, delivery: number): StandingLease => ({
  jobId: idOf(number),
  fencingToken: 1n,
  attempt: 1,
  attemptsMax: 3,
  delivery,
  options: {},
  laneId: 1,
});

/** A hub whose ledger has these leases of the session, and refuses to take any back for so many times. */
function hubWith(leases: readonly StandingLease[], refusals: readonly Fault[], streamsMax = 10) {
  const resumed: ResumeResult = {
    type: "resumed",
    epoch: 2,
    deliveredThrough: 1,
    lastDelivery: Math.max(0, ...leases.map(({ delivery }) => delivery)),
    workerName: "greeter",
    profile: { kinds: ["greet"], capabilities: [], products: [], queues: [] },
    leases,
    deliveries: leases.map(({ delivery }) => delivery),
    lastRequest: null,
  };
  const returned: LeaseToReturn[] = [];
  const left = [...refusals];
  const sessions = new Sessions(streamsMax, { jobsMax: 10, bytesMax: 10 });
  const sessionLeases = new SessionLeases(
    async (items) => {
      const refusal = left.shift();
      if (refusal) throw refusal;
      returned.push(...items);
      return items.length;
    },
    () => undefined,
  );
  const ledger = {
    openSession: async () => {
      const refusal = left.shift();
      if (refusal) throw refusal;
      return true as const;
    },
    resumeSession: async () => resumed,
    closeSession: async () => true as const,
    readReportedTokens: async () => new Map<string, bigint>(),
  };
  const ignore = () => undefined;
  const acknowledgements = new Acknowledgements({ saveAcknowledgement: async () => true as const }, ignore);
  const attachments = new Attachments(30_000, ledger, sessions, sessionLeases, acknowledgements, ignore);
  return { attachments, sessions, returned };
}

const hello = {
  workerName: "greeter",
  kinds: ["greet"],
  capabilities: [],
  products: [],
  queues: [],
  weights: {},
  sessionId,
  held: [{ jobId: idOf(10), fencingToken: 1n }],
};

it("a lease that its worker does not name goes back, also when the ledger is overrun just then (D3, D6)", async () => {
  const full = new Fault("BACKLOG_FULL", "The hub's write queue is full.", {}, { retryAfterMs: 1 });
  const { attachments, returned } = hubWith([standing(10, 3), standing(11, 2)], [full, full]);

  const { session, welcome } = await attachments.attach(principal, hello, new RememberingOutbox());

  expect(welcome.held).toEqual([{ jobId: idOf(10), fencingToken: 1n, lostReason: null }]);
  // By its record in the ledger it is found when the session ends: that stays until the lease is back.
  expect(session.takeSettledDeliveries()).toEqual([]);
  await until(() => returned.length > 0, "the lease to go back");
  expect(returned.map(({ jobId, isStarted }) => [jobId, isStarted])).toEqual([[idOf(11), false]]);
  await until(() => session.leases.size === 1, "the session to let go of it");
  expect(session.takeSettledDeliveries()).toEqual([2]);
});

it("a hub that stops leaves it to the session's end", async () => {
  const stopping = new Fault("HUB_STOPPING", "The hub is stopping.");
  const { attachments, returned } = hubWith([standing(11, 2)], [stopping]);

  const { session } = await attachments.attach(principal, { ...hello, held: [] }, new RememberingOutbox());
  await new Promise(setImmediate);

  expect(returned).toEqual([]);
  expect(session.leases.size).toBe(1);
});

it("a worker that calls gets what a lost claim granted from the ledger, with its next call (D3, D6)", async () => {
  const { attachments, sessions } = hubWith([standing(10, 2)], []);
  const adopt = () => attachments.adopt(principal, sessionId, 0, () => unaryLink(Date.now()));
  const { session } = await adopt();
  expect(await adopt()).toEqual({ session, resumed: null });
  let ended = 0;
  (session.link as UnaryLink).onLeases = () => {
    ended += 1;
  };

  sessions.claimLost(session, session.epoch);

  expect(ended).toBe(1);
  expect((await adopt()).resumed?.leases).toMatchObject([{ jobId: idOf(10) }]);
  sessions.claimLost(session, session.epoch);
  expect((await adopt()).resumed).toBeNull();
});

it("a stream whose claim was lost is sent away, and its session left to be resumed or to expire (D3)", async () => {
  const { attachments, sessions } = hubWith([], []);
  const outbox = new RememberingOutbox();
  const { session, link } = await attachments.attach(principal, hello, outbox);
  sessions.drain(session);

  sessions.claimLost(session, session.epoch);
  attachments.detach(session, link);

  expect(outbox.ended?.reason).toBe("LEDGER_UNAVAILABLE");
  expect(sessions.get(sessionId)?.state.type).toBe("lost");
});

it("workers that call are as many as streams may be, and come to no hub that stops", async () => {
  const away = new Fault("LEDGER_UNAVAILABLE", "The ledger cannot be reached.");
  const { attachments, sessions } = hubWith([], [away], 2);
  const open = () => attachments.openCalling(principal, hello, unaryLink(Date.now()));
  const adopt = () => attachments.adopt(principal, sessionId, 0, () => unaryLink(Date.now()));
  await expect(open()).rejects.toBe(away);

  const first = await open();
  await adopt();
  await expect(open()).rejects.toMatchObject({ reason: "STREAM_LIMIT", metadata: { value: "2" } });
  expect((await adopt()).resumed).toBeNull();
  sessions.leave(first, "expired");
  const second = await open();
  sessions.leave(second, "lost");
  sessions.leave(second, "expired");

  sessions.stop(0);
  await expect(open()).rejects.toMatchObject({ reason: "HUB_STOPPING" });
  expect((await adopt()).resumed).toBeNull();
});
