import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Fault } from "../domain/fault.js";
import type { InboxEntry } from "../domain/inbox.js";
import { noFairness } from "../domain/job-spec.js";
import type { AdoptResult, SubmitItem } from "../ledger/submit-jobs.js";
import { Inbox } from "./inbox.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const entry = (position: number): InboxEntry => ({
  ...{ position, jobId: `job-${position}`, tenantId: 1, submittedAtMs: Date.now(), kind: "work" },
  ...{ source: "", fairness: noFairness },
  ...{ product: "p", queue: "q", priority: 2, capabilities: [], labels: {}, idempotencyKey: "" },
  ...{
    runAtMs: null,
    deadlineMs: null,
    retry: null,
    contentType: "",
    options: {},
    payload: new Uint8Array(),
  },
});

/** An inbox on a ledger whose answers are given. */
function inboxOn(
  read: () => InboxEntry[],
  adopt: (items: readonly SubmitItem[]) => Promise<(AdoptResult | Fault)[]>,
) {
  const reads: number[] = [];
  const settled: unknown[] = [];
  const awake: boolean[] = [];
  const ledger = {
    readInbox: async () => {
      reads.push(Date.now());
      return read();
    },
    adopt,
    settleInbox: async (...args: unknown[]) => void settled.push(args),
    listenToInbox: () => ({
      open: async () => undefined,
      close: async () => undefined,
      stayAwake: async (isAwake: boolean) => void awake.push(isAwake),
    }),
  };
  const lane = { laneId: 1 };
  const directLeases = {
    begin: (jobs: readonly object[]) => ({ items: jobs, end: () => undefined }),
  };
  const inbox = new Inbox(
    ledger as never,
    { offer: () => undefined } as never,
    { laneFor: async () => lane } as never,
    directLeases as never,
    () => undefined,
    1_000,
    { settled: () => undefined, replaced: () => undefined, failed: () => undefined },
  );
  return { inbox, reads, settled, awake };
}

describe("the inbox", () => {
  it("looks every few milliseconds after something came, and once a second when nothing does", async () => {
    const waiting = [[entry(1)], []];
    const { inbox, reads, awake } = inboxOn(
      () => waiting.shift() ?? [],
      async ([item]) => [{ type: "existing", jobId: item?.jobId ?? "" }],
    );
    await inbox.start();
    await vi.advanceTimersByTimeAsync(100);
    expect(reads.length).toBeGreaterThan(10);
    expect(awake.at(-1)).toBe(true);

    await vi.advanceTimersByTimeAsync(2_000);
    const before = reads.length;
    await vi.advanceTimersByTimeAsync(5_000);

    expect(reads.length - before).toBeLessThanOrEqual(6);
    expect(awake.at(-1)).toBe(false);
    await inbox.stop();
  });

  it("does not hammer a ledger that takes nothing just now, and keeps what it could not take", async () => {
    const full = Array.from({ length: 500 }, (_, at) => entry(at + 1));
    const { inbox, reads, settled } = inboxOn(
      () => full,
      async () => {
        throw new Fault("BACKLOG_FULL", "no");
      },
    );
    await inbox.start();

    await vi.advanceTimersByTimeAsync(3_500);

    expect(reads.length).toBeLessThanOrEqual(5);
    expect(settled).toEqual([]);
    await inbox.stop();
  });

  it("settles each entry by what became of it: refused with its reason, existing gone, elsewhere left alone", async () => {
    const waiting = [[entry(1), entry(2), entry(3), entry(4)]];
    const { inbox, settled } = inboxOn(
      () => waiting.shift() ?? [],
      async () => [
        { type: "conflict", jobId: "first" },
        { type: "existing", jobId: "first" },
        { type: "elsewhere" },
        new Fault("ITEM_POISONED", "no"),
      ],
    );
    await inbox.start();
    await vi.advanceTimersByTimeAsync(10);

    expect(settled).toMatchObject([
      [
        ["job-2"],
        [
          { jobId: "job-1", refusal: { reason: "IDEMPOTENCY_CONFLICT", metadata: { job_id: "first" } } },
          { jobId: "job-4", refusal: { reason: "ITEM_POISONED" } },
        ],
      ],
    ]);
    await inbox.stop();
  });
});
