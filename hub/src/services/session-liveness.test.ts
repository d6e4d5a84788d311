import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { liveSession } from "../../test/harness/sessions.js";
import { SessionLeases } from "./session-leases.js";
import { SessionLiveness } from "./session-liveness.js";
import { Sessions } from "./sessions.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it("a session that was lost is kept for its lifetime, and forgotten then: it ran out, or lives on another hub (D6)", () => {
  const sessions = new Sessions(10, { jobsMax: 10, bytesMax: 10 });
  const leases = new SessionLeases(
    async () => 0,
    () => undefined,
  );
  const settings = { sessionTtlMs: 30_000, heartbeatIntervalMs: 5_000 };
  const liveness = new SessionLiveness(settings, { renewSessions: async () => [] }, sessions, leases);
  const { session } = liveSession(1, { jobs: 1 });
  sessions.enter(session);

  sessions.leave(session, "lost");
  vi.advanceTimersByTime(29_000);
  expect(sessions.get(session.sessionId)).toBe(session);
  vi.advanceTimersByTime(2_000);

  expect(sessions.get(session.sessionId)).toBeUndefined();
  liveness.stop();
});
