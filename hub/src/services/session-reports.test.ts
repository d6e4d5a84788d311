import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { leaseOn, liveSession } from "../../test/harness/sessions.js";
import type { ProgressItem } from "../ledger/record-progress.js";
import { JobFeed } from "./job-feed.js";
import { SessionReports } from "./session-reports.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const ignore = () => undefined;

it("progress is kept of what its worker holds only: nobody overwrites or crowds out another's (D4)", async () => {
  const recorded: ProgressItem[] = [];
  const ledger = {
    report: async () => [],
    saveCheckpoints: async () => [],
    recordSpend: async () => [],
    recordProgress: async (items: readonly ProgressItem[]) => {
      recorded.push(...items);
      return items.map(() => true);
    },
  };
  const feed = new JobFeed({ changed: ignore, watching: ignore });
  const outcomes = { ended: ignore, throttled: ignore };
  const reports = new SessionReports(ledger, feed, async () => 0, ignore, ignore, outcomes, ignore);
  const [owner, stranger] = [liveSession(1, { jobs: 1 }).session, liveSession(2, { jobs: 1 }).session];
  owner.hold(leaseOn("J", 3));
  const of = (jobId: string, fencingToken: bigint, percent: number) => ({
    ...{ jobId, fencingToken, percent },
    message: "",
  });

  reports.progress(
    stranger,
    Array.from({ length: 20_000 }, (_, at) => of(String(at), 1n, 1)),
  );
  reports.progress(owner, [of("J", 3n, 50), of("J", 2n, 10)]);
  reports.progress(stranger, [of("J", 3n, 99)]);
  await vi.advanceTimersByTimeAsync(300);

  expect(recorded).toEqual([{ ...of("J", 3n, 50), sessionId: owner.sessionId }]);
  reports.stop();
});
