import pg from "pg";
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

/** A queue of writes, by default on a connection that is there again as soon as it is asked for. */
function openCommits(
  connection: object = { isOpen: true, open: async () => undefined, abandon: async () => undefined },
): GroupCommit {
  const limits = { queuedItemsMax: 8, queuedBytesMax: 100 };
  return new GroupCommit(connection as never, new JobPartitions(), limits, new Set(["renew"]), quiet);
}

function statement(
  name: string,
  run: BatchStatement<number, number>["run"] = async (_, items) => ({ results: items, wrotePage: false }),
): BatchStatement<number, number> {
  return { name, itemsMax: 1, bytesMax: 10, bytesOf: () => 1, run };
}

describe("a queue that is full of submits", () => {
  it("takes a quarter more for sessions, and of nobody more than that", async () => {
    const commits = openCommits();
    const [submit, renew] = [statement("submit"), statement("renew")];
    const full = { reason: "BACKLOG_FULL" };

    const taken = [commits.commit(submit, [1, 2, 3, 4, 5, 6, 7, 8], 5_000)];
    await expect(commits.commit(submit, [9], 5_000)).rejects.toMatchObject(full);
    taken.push(commits.commit(renew, [9], 5_000), commits.commit(renew, [10], 5_000));
    await expect(commits.commit(renew, [11], 5_000)).rejects.toMatchObject(full);

    expect((await Promise.all(taken)).flat()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

describe("a connection that comes back when a call has given up", () => {
  it("runs nothing for that call", async () => {
    const connection = {
      isOpen: false,
      tries: 0,
      async open() {
        this.tries += 1;
        if (this.tries === 1) throw new Error("The ledger is away.");
        this.isOpen = true;
      },
    };
    const ran: (readonly number[])[] = [];
    const run: BatchStatement<number, number>["run"] = async (_, items) => {
      ran.push(items);
      return { results: items, wrotePage: false };
    };
    const commits = openCommits(connection);

    const [given, patient] = await Promise.allSettled([
      commits.commit(statement("submit", run), [1], 0),
      commits.commit(statement("report", run), [2], 5_000),
    ]);

    expect([given?.status, patient?.status]).toEqual(["rejected", "fulfilled"]);
    expect(ran).toEqual([[2]]);
  });
});

describe("batches that were lost together", () => {
  it("run again in the order in which they came", async () => {
    const again: number[] = [];
    const losing = statement("act", async (on, items) => {
      if (!on.isRetry) throw new Error("The connection is lost.");
      again.push(...items);
      return { results: items, wrotePage: false };
    });
    const commits = openCommits();

    await Promise.all([1, 2, 3, 4].map((item) => commits.commit(losing, [item], 5_000)));

    expect(again).toEqual([1, 2, 3, 4]);
  });
});

describe("an item that the server does not take", () => {
  it("keeps no other of its call from its answer, once the call has waited long enough", async () => {
    const error = new pg.DatabaseError("damaged", 0, "error");
    error.code = "XX001";
    const damaged = {
      ...statement("act", async (_, items) => {
        if (items.includes(2)) throw error;
        return { results: items, wrotePage: false };
      }),
      itemsMax: 8,
    };

    const [first, second, third] = await openCommits().commit(damaged, [1, 2, 3], 100);

    expect([first, third]).toEqual([1, 3]);
    expect(second).toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
  });
});
