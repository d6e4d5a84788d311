import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type InboxEntry, specOfEntry } from "../../src/domain/inbox.js";
import { UniquePolicy } from "../../src/domain/job-spec.js";
import { JobState } from "../../src/domain/job-state.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { SubmitItem } from "../../src/ledger/submit-jobs.js";
import { failJobs } from "../harness/failing-jobs.js";
import {
  firstGateEpoch,
  openSession,
  operator,
  readRow,
  submitItem,
  unrefused,
} from "../harness/ledger-acts.js";
import { expectBooksInOrder } from "../harness/ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
beforeAll(async () => {
  room = await openLedgerRoom();
});
afterAll(async () => {
  await expectBooksInOrder(room);
  await room.close();
});

/** What `holdfast.submit` answers for the arguments that are given. */
async function submitted(args: string, values: unknown[] = []): Promise<string> {
  return (await room.sql<{ id: string }>(`select submit(${args}) as id`, values))[0]?.id as string;
}

function itemOf(entry: InboxEntry): SubmitItem {
  const { jobId, tenantId } = entry;
  const spec = specOfEntry(entry, 1 << 20);
  if (spec instanceof Error) throw spec;
  return { jobId, tenantId, laneId: room.lane.laneId, spec, leaseTo: null };
}

async function entryOf(jobId: string, ledger: Ledger = room.ledger): Promise<InboxEntry> {
  const entry = (await ledger.readInbox(0, 1_000)).find((entry) => entry.jobId === jobId);
  if (!entry) throw new Error(`${jobId} is not in the inbox`);
  return entry;
}

const waiting = async () => (await room.ledger.readInbox(0, 10_000)).length;

describe("a submit in SQL", () => {
  it("that was rolled back never happened, not even to a hub that looks meanwhile", async () => {
    const client = new pg.Client({ connectionString: room.url, application_name: "holdfast-test-app" });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query("begin");
    await client.query("select holdfast.submit('greet')");
    expect(await waiting()).toBe(0);
    await client.query("rollback");

    expect(await waiting()).toBe(0);
    expect(await room.sql("select from job")).toEqual([]);
  });

  it("carries everything that a call can say, and has the same digest (D2)", async () => {
    const runAtMs = Date.now() + 3_600_000;
    const jobId = await submitted(
      `'greet', payload => '{"n": 1}', product => 'press', queue => 'night', priority => 'critical',
       capabilities => '{b,a,b}', labels => '{"site": "north"}', idempotency_key => 'all', run_at => to_timestamp($1),
       deadline => to_timestamp($1) + interval '1 minute', max_attempts => 3, max_backoff => '1 minute',
       source => 'api.example/v2', fairness_key => 'Customer:42', fairness_weight => 3,
       start_by => to_timestamp($1), unique_key => 'one', unique_policy => 'refuse'`,
      [runAtMs / 1_000],
    );

    const entry = await entryOf(jobId);
    const item = itemOf(entry);
    const [result] = unrefused(await room.ledger.adopt([item]));

    expect(item.spec).toEqual({
      kind: "greet",
      product: "press",
      queue: "night",
      priority: 4,
      capabilities: ["a", "b"],
      source: "api.example/v2",
      fairness: { key: "Customer:42", weight: 3 },
      payload: Buffer.from('{"n": 1}'),
      contentType: "application/json",
      idempotencyKey: "all",
      runAtMs,
      deadlineMs: runAtMs + 60_000,
      retry: { maxAttempts: 3, initialBackoffMs: 1_000, factor: 2, maxBackoffMs: 60_000 },
      options: {
        labels: { site: "north" },
        retry: { maxAttempts: 3, initialBackoffMs: 1_000, factor: 2, maxBackoffMs: 60_000 },
        idempotencyKey: "all",
        startByMs: runAtMs,
        unique: { key: "one", policy: UniquePolicy.Refuse },
      },
    });
    expect(result).toMatchObject({ type: "accepted", jobId, dueAtMs: runAtMs });
    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Scheduled, revision: 1 });
    const [again] = unrefused(await room.ledger.submit([{ ...item, jobId: uuidv7() }]));
    expect(again).toEqual({ type: "existing", jobId });
  });

  it("answers the first job's id when its key was used before", async () => {
    const first = submitItem(room, { idempotencyKey: "known" });
    await room.ledger.submit([first]);

    const id = await submitted("'greet', idempotency_key => 'known', payload_bytes => 'hello'");

    expect(id).toBe(first.jobId);
    const [entry] = await room.ledger.readInbox(0, 10);
    const [result] = unrefused(await room.ledger.adopt([itemOf(entry as InboxEntry)]));
    expect(result).toEqual({ type: "existing", jobId: first.jobId });
    await room.ledger.settleInbox([(entry as InboxEntry).jobId], []);
    expect(await waiting()).toBe(0);
  });

  it.each([
    ["kind", "'Greet me'"],
    ["kind", "null"],
    ["queue", "'greet', queue => ''"],
    ["priority", "'greet', priority => 'urgent'"],
    ["source", "'greet', source => 'Api'"],
    ["fairness_key", "'greet', fairness_key => 'a b'"],
    ["fairness_weight", "'greet', fairness_key => 'a', fairness_weight => 0"],
    ["fairness_weight", "'greet', fairness_weight => 2"],
    ["unique_policy", "'greet', unique_key => 'a', unique_policy => 'perhaps'"],
    ["unique_policy", "'greet', unique_policy => 'refuse'"],
    ["unique_key", "'greet', unique_key => repeat('k', 257)"],
    ["start_by", "'greet', start_by => 'infinity'"],
    ["capabilities", "'greet', capabilities => '{ok,Not ok}'"],
    ["capabilities", "'greet', capabilities => array_fill('a'::text, array[17])"],
    ["labels", `'greet', labels => '{"n": 1}'`],
    ["labels", `'greet', labels => '["n"]'`],
    ["labels", "'greet', labels => null"],
    ["payload_bytes", "'greet', payload => '1', payload_bytes => 'x'"],
    ["idempotency_key", "'greet', idempotency_key => repeat('k', 257)"],
    ["run_at", "'greet', run_at => 'infinity'"],
    ["deadline", "'greet', deadline => '1999-01-01'"],
    ["max_attempts", "'greet', max_attempts => 0"],
    ["initial_backoff", "'greet', initial_backoff => '-1 second'"],
    ["backoff_factor", "'greet', backoff_factor => 'NaN'"],
    ["max_backoff", "'greet', max_backoff => '8 days'"],
  ])("that is not valid fails there, naming %s: %s", async (field, args) => {
    await expect(submitted(args)).rejects.toMatchObject({
      code: "22023",
      message: expect.stringContaining(`INVALID_FIELD: ${field} `),
    });
  });
});

describe("a role that may only execute holdfast.submit", () => {
  async function asApp<Row extends object>(texts: readonly string[]): Promise<Row[]> {
    const url = new URL(room.url);
    url.username = "shop";
    url.password = "shop";
    const client = new pg.Client({ connectionString: url.href, application_name: "holdfast-test-app" });
    await client.connect();
    try {
      let rows: Row[] = [];
      for (const text of texts) rows = (await client.query(text)).rows as Row[];
      return rows;
    } finally {
      await client.end();
    }
  }

  beforeAll(async () => {
    await room.sql("drop role if exists shop");
    await room.sql("create role shop login password 'shop'");
    await room.sql("grant usage on schema holdfast to shop");
    await room.sql("grant execute on function submit to shop");
  });
  afterAll(async () => {
    await room.sql("drop owned by shop");
    await room.sql("drop role shop");
  });

  it("submits, also with a search path and objects of its own, and can do nothing else", async () => {
    const [row] = await asApp<{ id: string }>([
      "create temporary table inbox (job_id uuid)",
      "create temporary table tenant (tenant_id integer, name text)",
      "set search_path = pg_temp",
      "select holdfast.submit('greet') as id",
    ]);

    expect(await entryOf(row?.id as string)).toMatchObject({ tenantId: 1, kind: "greet" });
    for (const text of [
      "select * from holdfast.inbox",
      "insert into holdfast.inbox_role values ('shop', 1)",
      "select holdfast.allow_submit('shop')",
      "select holdfast.ensure_partitions(1)",
      "delete from holdfast.job",
    ])
      await expect(asApp([text])).rejects.toMatchObject({ code: "42501" });
  });

  it("submits for the tenant and the kinds that it was given", async () => {
    await room.sql("insert into tenant (name) values ('factory-3')");
    await room.sql("select allow_submit('shop', 'factory-3', '{order}')");

    const [row] = await asApp<{ id: string }>(["select holdfast.submit('order') as id"]);

    const [tenant] = await room.sql<{ id: number }>(
      "select tenant_id as id from tenant where name = 'factory-3'",
    );
    expect(await entryOf(row?.id as string)).toMatchObject({ tenantId: tenant?.id });
    await expect(asApp(["select holdfast.submit('greet')"])).rejects.toMatchObject({
      code: "42501",
      message: expect.stringContaining("KIND_NOT_ALLOWED"),
    });
    await room.sql("delete from inbox");
  });
});

describe("adopting", () => {
  it("by several hubs at once makes each job once, and leaves no entry", async () => {
    const hubs = [room.ledger, await room.openLedger(), await room.openLedger()];
    await room.sql("select submit('greet', payload_bytes => n::text::bytea) from generate_series(1, 600) n");
    const items = (await room.ledger.readInbox(0, 1_000)).map(itemOf);

    const answers = await Promise.all(
      hubs.map(async (hub, at) => {
        const own = at === 1 ? items.toReversed() : items;
        const parts = Array.from({ length: 12 }, (_, part) => own.slice(part * 50, part * 50 + 50));
        return (await Promise.all(parts.map((part) => hub.adopt(part)))).flat();
      }),
    );

    const accepted = answers.flatMap(unrefused).filter(({ type }) => type === "accepted");
    expect(accepted).toHaveLength(600);
    expect(await waiting()).toBe(0);
    const ids = items.map(({ jobId }) => jobId);
    expect(await room.sql("select from job where id = any($1)", [ids])).toHaveLength(600);
  });

  it("of an entry that is gone does nothing", async () => {
    const jobId = await submitted("'greet'");
    const item = itemOf(await entryOf(jobId));
    await room.sql("delete from inbox");

    expect(await room.ledger.adopt([item])).toEqual([{ type: "elsewhere" }]);
    expect(await room.sql("select from job where id = $1", [jobId])).toEqual([]);
  });

  it("leases the job in the same commit to a session that waits", async () => {
    const sessionId = await openSession(room);
    const item = itemOf(await entryOf(await submitted("'greet'")));

    const [result] = await room.ledger.adopt([
      { ...item, leaseTo: { sessionId, delivery: 1, gateEpoch: firstGateEpoch } },
    ]);

    expect(result).toMatchObject({ type: "accepted", lease: { jobId: item.jobId, attempt: 1 } });
  });

  it("of one key with other content makes no job and keeps the entry, with its reason once that is known", async () => {
    const [one, other] = [
      await submitted("'greet', idempotency_key => 'race'"),
      await submitted("'greet', idempotency_key => 'race', payload => '1'"),
    ];

    const results = unrefused(
      await room.ledger.adopt([itemOf(await entryOf(one)), itemOf(await entryOf(other))]),
    );

    expect(results.map(({ type }) => type)).toEqual(["accepted", "conflict"]);
    expect(await waiting()).toBe(1);
    const refusal = { reason: "IDEMPOTENCY_CONFLICT", message: "No.", metadata: { job_id: one } };
    await room.ledger.settleInbox([], [{ jobId: other, refusal }]);
    expect(await waiting()).toBe(0);
    expect(await room.ledger.listInbox(1, true, "", 10)).toMatchObject([{ jobId: other, refusal }]);
    expect(await room.ledger.discardInboxEntry(operator("", 2), other)).toBeNull();
    expect(await room.ledger.discardInboxEntry(operator(), other)).toMatchObject({ jobId: other });
  });

  it("of an entry that the server does not take just now waits, and is not refused for good", async () => {
    const entry = await entryOf(await submitted("'greet'"));
    const recover = await failJobs(room, "insert", ["57014", "57014"]);

    const [result] = unrefused(await room.ledger.adopt([itemOf(entry)]).finally(recover));

    expect(result).toMatchObject({ type: "accepted", jobId: entry.jobId });
  });

  it("takes what was submitted on a day without a partition", async () => {
    const jobId = await submitted("'greet'");
    const old = Date.now() - 20 * 86_400_000;
    await room.sql(
      "update inbox set submitted_at = to_timestamp($1::float8 / 1000), job_id = new_job_id(to_timestamp($1::float8 / 1000)) where job_id = $2",
      [old, jobId],
    );
    const [entry] = await room.ledger.readInbox(0, 1);

    await room.ledger.ensureJobPartition((entry as InboxEntry).submittedAtMs);
    const [result] = await room.ledger.adopt([itemOf(entry as InboxEntry)]);

    expect(result).toMatchObject({ type: "accepted" });
  });
});

describe("an entry with a unique key (D2)", () => {
  const adopt = async (jobIds: readonly string[], ledger: Ledger = room.ledger) =>
    unrefused(
      await ledger.adopt(
        await Promise.all(jobIds.map(async (jobId) => itemOf(await entryOf(jobId, ledger)))),
      ),
    );

  it("becomes a job when no open job has the key, and else what its policy says", async () => {
    const first = await submitted("'greet', unique_key => 'sql'");
    expect(await adopt([first])).toMatchObject([{ type: "accepted", jobId: first }]);

    const kept = await submitted("'greet', unique_key => 'sql'");
    expect(await adopt([kept])).toEqual([{ type: "existing", jobId: first }]);
    const refused = await submitted("'greet', unique_key => 'sql', unique_policy => 'refuse'");
    expect(await adopt([refused])).toEqual([{ type: "held", jobId: first }]);
    const next = await submitted("'greet', unique_key => 'sql', unique_policy => 'replace'");
    expect(await adopt([next])).toMatchObject([{ type: "accepted", jobId: next, replacedJobId: first }]);

    expect(await readRow(room, first)).toMatchObject({ state: JobState.Cancelled });
    expect(await room.sql("select from inbox where job_id = any($1)", [[first, next]])).toEqual([]);
    await room.ledger.settleInbox([kept, refused], []);
  });

  it("is adopted once by hubs that try at once, beside those without a key", async () => {
    const peer = await room.openLedger();
    const ids = [
      await submitted("'greet', unique_key => 'raced'"),
      await submitted("'greet'"),
      await submitted("'greet', unique_key => 'other'"),
    ];
    const items = await Promise.all(ids.map(async (jobId) => itemOf(await entryOf(jobId))));

    const results = await Promise.all([room.ledger, peer].map((ledger) => ledger.adopt(items)));
    await peer.stop();

    for (const at of ids.keys()) {
      const types = results.map((answers) => (unrefused(answers)[at] as { type: string }).type);
      expect(types.sort()).toEqual(["accepted", "elsewhere"]);
    }
    expect(await waiting()).toBe(0);
  });

  it("that the ledger refuses does not take away the answer to one without a key", async () => {
    const [plain, unique] = [await submitted("'greet'"), await submitted("'greet', unique_key => 'refused'")];
    const refused = itemOf(await entryOf(unique));
    const options = { ...refused.spec.options, labels: { site: "nor\u0000th" } };

    const results = await room.ledger.adopt([
      itemOf(await entryOf(plain)),
      { ...refused, spec: { ...refused.spec, options } },
    ]);

    expect(results).toMatchObject([{ type: "accepted", jobId: plain }, { reason: "ITEM_POISONED" }]);
    await room.ledger.settleInbox([unique], []);
  });

  it("that must have started by a time ends when that has passed", async () => {
    const jobId = await submitted("'greet', start_by => now() - interval '1 second'");
    await adopt([jobId]);

    await room.ledger.fireStartDeadlines(10);

    expect(await readRow(room, jobId)).toMatchObject({ state: JobState.Dead });
  });
});
