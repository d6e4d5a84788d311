import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { leaseOn, liveSession } from "../../test/harness/sessions.js";
import { Fault } from "../domain/fault.js";
import type { Acknowledgement } from "../ledger/save-acknowledgements.js";
import { Acknowledgements } from "./acknowledgements.js";
import { SessionLeases } from "./session-leases.js";
import { SessionLiveness } from "./session-liveness.js";
import { Sessions } from "./sessions.js";
import { unaryLink } from "./worker-session.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function liveHub() {
  const sessions = new Sessions(10, { jobsMax: 10, bytesMax: 10 });
  const leases = new SessionLeases(
    async () => 0,
    () => undefined,
  );
  const settings = { sessionTtlMs: 30_000, heartbeatIntervalMs: 5_000 };
  const ledger = { renewSessions: async () => ["renewed" as const] };
  const saved: number[] = [];
  const refusals: Fault[] = [];
  const saveAcknowledgement = async ({ deliveredThrough }: Acknowledgement) => {
    const refusal = refusals.pop();
    if (refusal) throw refusal;
    saved.push(deliveredThrough);
    return true as const;
  };
  const acknowledgements = new Acknowledgements({ saveAcknowledgement }, () => undefined);
  const liveness = new SessionLiveness(settings, ledger, sessions, leases, acknowledgements);
  return { sessions, liveness, saved, refusals };
}

it("a session that was lost is kept for its lifetime, and forgotten then: it ran out, or lives on another hub (D6)", () => {
  const { sessions, liveness } = liveHub();
  const { session } = liveSession(1, { jobs: 1 });
  sessions.enter(session);

  sessions.leave(session, "lost");
  vi.advanceTimersByTime(29_000);
  expect(sessions.get(session.sessionId)).toBe(session);
  vi.advanceTimersByTime(2_000);

  expect(sessions.get(session.sessionId)).toBeUndefined();
  liveness.stop();
});

it("a session whose worker calls is forgotten a lifetime after its last call, whichever hub found that it ran out", async () => {
  const { sessions, liveness } = liveHub();
  const { session } = liveSession(1, { jobs: 0 });
  session.state = { type: "live", link: unaryLink(Date.now()) };
  sessions.enter(session);

  vi.advanceTimersByTime(20_000);
  await liveness.renew(session);
  vi.advanceTimersByTime(29_000);
  expect(sessions.get(session.sessionId)).toBe(session);
  vi.advanceTimersByTime(2_000);

  expect(sessions.get(session.sessionId)).toBeUndefined();
  liveness.stop();
});

it("what a silent worker had acknowledged is saved once, also where the ledger was away at first (D6)", async () => {
  const { sessions, liveness, saved, refusals } = liveHub();
  const { session } = liveSession(1, { jobs: 0 });
  session.state = { type: "live", link: unaryLink(Date.now()) };
  session.hold(leaseOn("J", 1));
  session.lastDelivery = 2;
  sessions.enter(session);
  session.acknowledge(1);
  await liveness.renew(session);
  session.acknowledge(2);
  refusals.push(new Fault("LEDGER_UNAVAILABLE", "The ledger cannot be reached."));

  await vi.advanceTimersByTimeAsync(7_000);
  expect([saved, refusals.length]).toEqual([[], 1]);
  await vi.advanceTimersByTimeAsync(5_000);

  expect([saved, refusals.length]).toEqual([[2], 0]);
  liveness.stop();
});
