import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { leaseOn, liveSession } from "../../test/harness/sessions.js";
import { Fault } from "../domain/fault.js";
import { JobState } from "../domain/job-state.js";
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

it("a result that the ledger does not take just now has no verdict, so that its worker keeps it; others have theirs (D5)", async () => {
  const ledger = {
    report: async () => [
      new Fault("LEDGER_UNAVAILABLE", "Not now."),
      { type: "committed", state: JobState.Succeeded, dueAtMs: null } as const,
    ],
    saveCheckpoints: async () => [],
    recordSpend: async () => [],
    recordProgress: async () => [],
  };
  const feed = new JobFeed({ changed: ignore, watching: ignore });
  const outcomes = { ended: ignore, throttled: ignore };
  const reports = new SessionReports(ledger, feed, async () => 0, ignore, ignore, outcomes, ignore);
  const { session } = liveSession(1, { jobs: 1 });
  for (const jobId of ["J", "K"]) session.hold(leaseOn(jobId, 3));
  const result = (jobId: string) => ({
    jobId,
    fencingToken: 3n,
    outcome: { type: "success", result: new Uint8Array(), contentType: "" } as const,
  });

  const verdicts = await reports.report(session, [result("J"), result("K")]);

  expect(verdicts.map(({ jobId, verdict }) => [jobId, verdict.type])).toEqual([["K", "committed"]]);
  expect([...session.leases.keys()]).toEqual(["J"]);
});
