import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UniquePolicy } from "../../src/domain/job-spec.js";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import type { SubmitItem, SubmitResult } from "../../src/ledger/submit-jobs.js";
import { submitUniqueJobs } from "../../src/ledger/submit-unique-jobs.js";
import { runAgain } from "../harness/again.js";
import {
  claimAll,
  claimOne,
  done,
  openSession,
  operator,
  readRow,
  reportItem,
  submitItem,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";
import { until } from "../harness/raw-wait.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(async () => {
  await expectBooksInOrder(room);
  await room.close();
});

const { Existing, Refuse, Replace } = UniquePolicy;

function item(
  key: string,
  policy: UniquePolicy = Existing,
  more: Parameters<typeof submitItem>[1] = {},
): SubmitItem {
  return submitItem(room, { ...more, options: { unique: { key, policy } } });
}

async function submit(...items: SubmitItem[]): Promise<SubmitResult[]> {
  return unrefused(await room.ledger.submit(items));
}

async function accepted(key: string, policy?: UniquePolicy): Promise<string> {
  const [result] = await submit(item(key, policy));
  if (result?.type !== "accepted") throw new Error(`not accepted: ${JSON.stringify(result)}`);
  return result.jobId;
}

const end = (jobId: string) => room.ledger.cancel({ jobId, tenantId: 1, reason: "", graceMs: 0 });

/** Keys that more than one open job has. */
const doubles = () =>
  room.sql(
    `select tenant_id, options #>> '{unique,key}' as key from job where state < 6 and options ? 'unique'
     group by 1, 2 having count(*) > 1`,
  );

describe("a unique key of an open job", () => {
  it("answers that job, refuses, or is replaced, as the submit says", async () => {
    const first = await accepted("a");

    expect(await submit(item("a", Existing))).toEqual([{ type: "existing", jobId: first }]);
    expect(await submit(item("a", Refuse))).toEqual([{ type: "held", jobId: first }]);
    const [replacing] = await submit(item("a", Replace));

    expect(replacing).toMatchObject({ type: "accepted", replacedJobId: first, ref: expect.anything() });
    expect(await room.ledger.readJob(1, first)).toMatchObject({
      state: JobState.Cancelled,
      outcome: { type: "cancelled", reason: `replaced by ${replacing?.jobId}` },
    });
    const history = await room.ledger.readHistory(1, first, 0, 10);
    expect(history.map(({ type }) => type)).toEqual([JobEventType.Submitted, JobEventType.Cancelled]);
  });

  it("is free when the job has ended", async () => {
    const first = await accepted("b");
    await end(first);

    const second = await accepted("b", Refuse);

    expect(second).not.toBe(first);
  });

  it("is not replaced once the job has started, or is between two attempts", async () => {
    const first = await accepted("c");
    const sessionId = await openSession(room);
    const lease = await claimOne(room.ledger, sessionId, first);

    expect(await submit(item("c", Replace))).toEqual([{ type: "existing", jobId: first }]);
    const failure = {
      type: "failure",
      code: "X",
      message: "",
      permanent: false,
      retryAfterMs: 60_000,
    } as const;
    await room.ledger.report([reportItem(sessionId, lease, failure)]);
    expect(await submit(item("c", Replace))).toEqual([{ type: "existing", jobId: first }]);
    expect((await readRow(room, first)).state).toBe(JobState.Scheduled);
  });

  it("is not replaced when others came to wait for it while the replacing submit waited", async () => {
    const first = await accepted("linked");
    const linking = new pg.Client({ connectionString: room.url, options: "-c search_path=holdfast" });
    await linking.connect();
    // As a submit does that follows it: the job's row is marked before anything else.
    await linking.query("begin");
    await linking.query("update job set is_linked = true where id = $1", [first]);

    const replacing = submit(item("linked", Replace));
    await until(
      async () => (await room.sql("select from pg_locks where not granted")).length > 0,
      "it waits",
    );
    await linking.query("commit");

    expect(await replacing).toEqual([{ type: "existing", jobId: first }]);
    expect(await readRow(room, first)).toMatchObject({ state: JobState.Ready });
    await linking.end();
  });

  it("of many in one batch is had by one, or by the last that replaces; jobs without a key are not concerned", async () => {
    const many = Array.from({ length: 400 }, () => item("d"));
    const plain = submitItem(room);

    const results = await submit(...many, plain, item("d", Refuse));

    const first = many[0]?.jobId as string;
    expect(results[0]).toMatchObject({ type: "accepted", jobId: first });
    expect(new Set(results.slice(1, 400).map((result) => `${result.type} ${result.jobId}`))).toEqual(
      new Set([`existing ${first}`]),
    );
    expect(results.slice(400).map(({ type }) => type)).toEqual(["accepted", "held"]);
    const replacing = Array.from({ length: 5 }, () => item("d", Replace));
    const chain = await submit(...replacing);
    expect(chain.map((result) => result.type === "accepted" && result.replacedJobId)).toEqual([
      first,
      ...replacing.slice(0, -1).map(({ jobId }) => jobId),
    ]);
    expect(await doubles()).toEqual([]);
  });

  it("comes after an idempotency key that was used before", async () => {
    const original = item("e", Existing, { idempotencyKey: "order-1" });
    await submit(original);
    await end(original.jobId);
    const holder = await accepted("e");

    const again = { ...original, jobId: item("e").jobId };
    expect(await submit(again)).toEqual([{ type: "existing", jobId: original.jobId }]);
    const other = item("e", Replace, { idempotencyKey: "order-1", payload: Buffer.from("other") });
    expect(await submit(other)).toEqual([{ type: "conflict", jobId: original.jobId }]);
    expect((await readRow(room, holder)).state).toBe(JobState.Ready);
  });

  it.each([
    ["existing", Existing],
    ["held", Refuse],
  ])(
    "is had by the job that an earlier try inserted, whichever comes first in the next (%s)",
    async (type, policy) => {
      const key = `retried-${type}`;
      const [inserted, other] = [item(key, policy), item(key, policy)];
      await submit(inserted);

      const { results, wrotePage } = await runAgain(room.url, submitUniqueJobs, [other, inserted]);

      expect(results).toMatchObject([
        { type, jobId: inserted.jobId },
        { type: "accepted", jobId: inserted.jobId },
      ]);
      expect(wrotePage).toBe(false);
    },
  );

  it("belongs to a tenant", async () => {
    await room.sql("insert into tenant (name) values ('other')");
    const [tenant] = await room.sql<{ id: number }>(
      "select tenant_id as id from tenant where name = 'other'",
    );
    await accepted("f");

    const results = await submit({ ...item("f", Refuse), tenantId: tenant?.id as number });

    expect(results).toMatchObject([{ type: "accepted" }]);
  });

  it("keeps a dead letter from living again beside the job that has it by now", async () => {
    const dead = await accepted("g");
    const sessionId = await openSession(room);
    const lease = await claimOne(room.ledger, sessionId, dead);
    const failure = { type: "failure", code: "X", message: "", permanent: true, retryAfterMs: 0 } as const;
    await room.ledger.report([reportItem(sessionId, lease, failure)]);
    const holder = await accepted("g");
    const revive = () => room.ledger.revive({ jobId: dead, ...operator() });

    expect(await revive()).toEqual({ type: "key_held", heldBy: holder });
    await end(holder);
    expect(await revive()).toMatchObject({ type: "revived" });
    expect(await submit(item("g"))).toEqual([{ type: "existing", jobId: dead }]);
  });

  it("lets one of several dead letters live again", async () => {
    const sessionId = await openSession(room);
    const ids: string[] = [];
    for (let at = 0; at < 3; at += 1) {
      const id = await accepted("h");
      const failure = { type: "failure", code: "X", message: "", permanent: true, retryAfterMs: 0 } as const;
      const lease = await claimOne(room.ledger, sessionId, id, at + 1);
      await room.ledger.report([reportItem(sessionId, lease, failure)]);
      ids.push(id);
    }

    const results = unrefused(await room.ledger.reviveAll(ids.map((jobId) => ({ jobId, ...operator() }))));

    expect(results.map(({ type }) => type).sort()).toEqual(["key_held", "key_held", "revived"]);
    expect(await doubles()).toEqual([]);
  });
});

describe("several hubs", () => {
  it("that submit, claim, end and revive at once never have two open jobs of one key", async () => {
    const hubs = [room.ledger, await room.openLedger(), await room.openLedger()];
    const keys = ["x1", "x2", "x3"];
    const open: string[] = [];
    const dead: string[] = [];
    let delivery = 0;
    let isOver = false;
    const seen: object[] = [];
    const watching = (async () => {
      while (!isOver) seen.push(...(await doubles()));
    })();

    await Promise.all(
      hubs.map(async (hub, at) => {
        const sessionId = await openSession(room, 60_000, hub);
        for (let round = 0; round < 60; round += 1) {
          const key = keys[(round + at) % keys.length] as string;
          const policy = ([Existing, Refuse, Replace] as const)[(round * 7 + at) % 3] as UniquePolicy;
          const [result] = await hub.submit([item(key, policy)]);
          if (result && "type" in result && result.type === "accepted") open.push(result.jobId);
          if (round % 3 === 0) {
            const id = open.pop();
            delivery += 1;
            const [lease] = id ? await claimAll(hub, sessionId, [id], delivery) : [];
            if (lease) {
              const permanent = {
                type: "failure",
                code: "X",
                message: "",
                permanent: true,
                retryAfterMs: 0,
              } as const;
              await hub.report([reportItem(sessionId, lease, round % 2 === 0 ? permanent : done)]);
              dead.push(lease.jobId);
            }
          }
          const revived = round % 5 === 0 ? dead.pop() : undefined;
          if (revived) await hub.revive({ jobId: revived, ...operator() });
        }
      }),
    );
    isOver = true;
    await watching;

    expect(seen).toEqual([]);
    expect(await doubles()).toEqual([]);
    const [count] = await room.sql<{ jobs: number }>(
      "select count(*)::integer as jobs from job where options #>> '{unique,key}' = any($1)",
      [keys],
    );
    expect(count?.jobs).toBeGreaterThan(20);
    // Whoever has a key, by its row, is the open job, if there is one.
    const astray = await room.sql(
      `select j.id from job j where j.state < 6 and j.options ? 'unique' and not exists (
         select from unique_key u where u.tenant_id = j.tenant_id and u.key = j.options #>> '{unique,key}' and u.job_id = j.id)`,
    );
    expect(astray).toEqual([]);
  });
});
