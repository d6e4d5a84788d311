import { describe, expect, it } from "vitest";
import { type BatchStatement, GroupCommit, type GroupCommitObserver } from "./group-commit.js";
import { JobPartitions } from "./job-partitions.js";

const quiet: GroupCommitObserver = {
  committed: () => undefined,
  pageCommitted: () => undefined,
  runsAdvanced: () => undefined,
  jobsWoken: () => undefined,
  disconnected: () => undefined,
  reconnected: () => undefined,
  poisoned: () => undefined,
  heldUp: () => undefined,
};

/** A queue of writes on a connection that is there again as soon as it is asked for. */
function openCommits(): GroupCommit {
  const connection = { isOpen: true, open: async () => undefined, abandon: async () => undefined };
  const limits = { queuedItemsMax: 10, queuedBytesMax: 10 };
  return new GroupCommit(connection as never, new JobPartitions(), limits, quiet);
}

function statement(run: BatchStatement<number, number>["run"]): BatchStatement<number, number> {
  return { name: "act", itemsMax: 1, bytesMax: 10, bytesOf: () => 1, run };
}

describe("batches that were lost together", () => {
  it("run again in the order in which they came", async () => {
    const again: number[] = [];
    const losing = statement(async (on, items) => {
      if (!on.isRetry) throw new Error("The connection is lost.");
      again.push(...items);
      return { results: items, wrotePage: false };
    });
    const commits = openCommits();

    await Promise.all([1, 2, 3, 4].map((item) => commits.commit(losing, [item], 5_000)));

    expect(again).toEqual([1, 2, 3, 4]);
  });
});
