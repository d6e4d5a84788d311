// Waiting for signals: what a job is told, and that no signal between its last look and its waiting is missed, whoever
// publishes, on whichever hub, at whichever moment.
import pg from "pg";
import { expect, it } from "vitest";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import { defaultRetryPolicy } from "../../src/domain/retry.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import {
  claimAll,
  claimOne,
  done,
  failed,
  openSession,
  readRow,
  reportItem,
  submitMany,
  submitOne,
  unrefused,
} from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";
import { openChannel, waitItem, waitOn } from "../harness/wait-acts.js";

const desk = await openLedgerDesk();
const { room, sessionId } = desk;
const { ledger } = room;

async function isReadyWithReason(jobId: string): Promise<string> {
  expect((await readRow(room, jobId)).state).toBe(JobState.Ready);
  return (await ledger.readHistory(1, jobId, 0, 100)).at(-1)?.reason ?? "";
}

async function rowsOf(table: string, jobId: string): Promise<number> {
  const [row] = await room.sql<{ n: number }>(
    `select count(*)::integer as n from ${table} where job_id = $1`,
    [jobId],
  );
  return row?.n ?? -1;
}

it("suspends a job without a signal: no lease, no attempt, a higher token (D4)", async () => {
  const lease = await desk.leased();
  const { channelId } = await openChannel(ledger);

  expect(await waitOn(ledger, waitItem(sessionId, lease, channelId))).toBe("suspended");

  const row = await readRow(room, lease.jobId);
  expect(row).toMatchObject({ state: JobState.Parked, attempt: 0, session_id: null });
  expect(BigInt(row.token)).toBeGreaterThan(lease.fencingToken);
  const job = await ledger.readJob(1, lease.jobId);
  expect(job?.awaits).toMatchObject({ partition: 0, afterSequence: 0, timeoutAtMs: null });
});

it("answers a signal that is there, and lets the lease stand", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  await publish();

  expect(await ledger.waitForSignal(waitItem(sessionId, lease, channel.channelId))).toEqual({
    type: "signalled",
    firstSequence: 1,
    lastSequence: 1,
  });
  expect((await readRow(room, lease.jobId)).state).toBe(JobState.Leased);
  expect(await waitOn(ledger, waitItem(sessionId, lease, channel.channelId, { afterSequence: 1 }))).toBe(
    "suspended",
  );
});

it("wakes a job in the transaction that commits the signal (D11)", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  await waitOn(ledger, waitItem(sessionId, lease, channel.channelId));

  await publish();

  expect(await isReadyWithReason(lease.jobId)).toBe("SIGNAL");
  const [same] = await room.sql<{ is_same: boolean }>(
    `select p.at = j.page_at as is_same from signal_page p, job j where p.channel_id = $1 and j.id = $2`,
    [channel.channelId, lease.jobId],
  );
  expect(same?.is_same).toBe(true);
  expect(await rowsOf("suspended", lease.jobId)).toBe(0);
  const again = await desk.claim(lease.jobId);
  expect(again.attempt).toBe(1);
  expect(await waitOn(ledger, waitItem(sessionId, again, channel.channelId))).toBe("signalled");
});

it("wakes nobody who waits for a later signal", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  await waitOn(ledger, waitItem(sessionId, lease, channel.channelId, { afterSequence: 2 }));
  await publish();
  await publish();
  expect((await readRow(room, lease.jobId)).state).toBe(JobState.Parked);
  await publish();
  expect(await isReadyWithReason(lease.jobId)).toBe("SIGNAL");
});

it("leaves no job waiting, and wakes each once, when signals and waits meet on two hubs (D4, D11)", async () => {
  const other = await room.openLedger();
  const otherSession = await openSession(room, 30_000, other);
  for (let round = 0; round < 60; round += 1) {
    const hubs: [Ledger, string][] = [
      [ledger, sessionId],
      [other, otherSession],
    ];
    const channel = await openChannel(ledger);
    const producers = await Promise.all([channel.producer(), channel.producer(other)]);
    const jobIds = await submitMany(room, 8);
    const leases = await Promise.all(
      jobIds.map(async (jobId, at) => {
        const [hub, session] = hubs[at % 2] as [Ledger, string];
        return { hub, session, lease: await claimOne(hub, session, jobId, desk.nextDelivery()) };
      }),
    );

    const [published, answers] = await Promise.all([
      Promise.all(producers.map((publish) => publish())),
      Promise.all(
        leases.map(({ hub, session, lease }) => waitOn(hub, waitItem(session, lease, channel.channelId))),
      ),
    ]);

    expect(published.toSorted()).toEqual([1, 2]);
    for (const [at, jobId] of jobIds.entries()) {
      const history = await ledger.readHistory(1, jobId, 0, 100);
      const woken = history.filter(({ reason }) => reason === "SIGNAL");
      const isSuspended = answers[at] === "suspended";
      expect(answers[at]).toMatch(/^(suspended|signalled)$/);
      expect(woken).toHaveLength(isSuspended ? 1 : 0);
      expect((await readRow(room, jobId)).state).toBe(isSuspended ? JobState.Ready : JobState.Leased);
    }
  }
  const [left] = await room.sql<{ n: number }>(
    `select count(*)::integer as n from suspended s
     join channel_partition p using (channel_id, partition) where p.last_sequence > s.after_sequence`,
  );
  expect(left?.n).toBe(0);
  await other.stop();
}, 120_000);

it("finds who was suspended while it waited for the head (D11)", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const eye = new pg.Client({ connectionString: room.url });
  await eye.connect();
  await eye.query("set search_path = holdfast; begin");
  await eye.query("select from channel_partition where channel_id = $1 for update", [channel.channelId]);

  const publishing = publish();
  const isHeldUp = () =>
    room.sql(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      and query like '%signal_producer%'`);
  await expect.poll(isHeldUp, { timeout: 4_000 }).toHaveLength(1);
  await eye.query("update job set state = 4, session_id = null, delivery = null where id = $1", [
    lease.jobId,
  ]);
  await eye.query(
    "insert into suspended (job_id, tenant_id, channel_id, partition, after_sequence) values ($1, 1, $2, 0, 0)",
    [lease.jobId, channel.channelId],
  );
  await eye.query("update channel_partition set is_awaited = true where channel_id = $1", [
    channel.channelId,
  ]);
  await eye.query("commit");
  await eye.end();

  expect(await publishing).toBe(1);
  expect(await isReadyWithReason(lease.jobId)).toBe("SIGNAL");
});

it("wakes who was suspended after it waited for a round that left nobody waiting (D11)", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const setAwaited = "update channel_partition set is_awaited = $2 where channel_id = $1";
  await room.sql(setAwaited, [channel.channelId, true]);
  const eye = new pg.Client({ connectionString: room.url });
  await eye.connect();
  await eye.query("set search_path = holdfast; begin");
  await eye.query(setAwaited, [channel.channelId, false]);

  const waiting = waitOn(ledger, waitItem(sessionId, lease, channel.channelId));
  const isHeldUp = () =>
    room.sql(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
      and query like '%timeout_ms%channel_partition%'`);
  await expect.poll(isHeldUp, { timeout: 4_000 }).toHaveLength(1);
  await eye.query("commit");
  await eye.end();

  expect(await waiting).toBe("suspended");
  await publish();
  expect(await isReadyWithReason(lease.jobId)).toBe("SIGNAL");
});

it("ends a wait by its time or by its signal, never by both", async () => {
  const outcomes = new Set<string>();
  for (let round = 0; round < 40; round += 1) {
    const channel = await openChannel(ledger);
    const publish = await channel.producer();
    const lease = await desk.leased();
    await waitOn(ledger, waitItem(sessionId, lease, channel.channelId, { timeoutMs: round % 4 }));

    await Promise.all([publish(), ledger.fireWaitTimeouts(100), ledger.fireWaitTimeouts(100)]);
    await ledger.fireWaitTimeouts(100);

    const history = await ledger.readHistory(1, lease.jobId, 0, 100);
    const woken = history.filter(({ type }) => type === JobEventType.Ready);
    expect(woken).toHaveLength(1);
    outcomes.add(woken[0]?.reason ?? "");
    expect(await rowsOf("suspended", lease.jobId)).toBe(0);
    const again = await desk.claim(lease.jobId);
    const item = waitItem(sessionId, again, channel.channelId);
    const expected = woken[0]?.reason === "TIMEOUT" ? "timed_out" : "signalled";
    expect(await waitOn(ledger, item)).toBe(expected);
    await publish();
    expect(await waitOn(ledger, item)).toBe(expected);
  }
  expect([...outcomes].length).toBeGreaterThan(0);
});

it("takes the timer along when a signal came first", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  await waitOn(ledger, waitItem(sessionId, lease, channel.channelId, { timeoutMs: 86_400_000 }));
  expect(await rowsOf("timer", lease.jobId)).toBe(1);
  await publish();
  expect(await rowsOf("timer", lease.jobId)).toBe(0);
});

it("answers a wait that is sent again as it did the first time, and another under its token not at all (D5)", async () => {
  const lease = await desk.leased();
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const item = waitItem(sessionId, lease, channel.channelId);
  expect(await ledger.waitForSignal(item)).toMatchObject({ type: "suspended", isRepeated: false });
  expect(await ledger.waitForSignal(item)).toMatchObject({ type: "suspended", isRepeated: true });
  await publish();
  expect(await ledger.waitForSignal(item)).toMatchObject({ type: "suspended", isRepeated: true });
  expect(await waitOn(ledger, { ...item, afterSequence: 5 })).toBe("stale");
  expect(unrefused(await ledger.report([reportItem(sessionId, lease, done)]))).toEqual([{ type: "stale" }]);
  expect((await readRow(room, lease.jobId)).revision).toBe(4);
});

it("keeps a job that is being cancelled from waiting", async () => {
  const lease = await desk.leased();
  const { channelId } = await openChannel(ledger);
  await ledger.cancel({ jobId: lease.jobId, tenantId: 1, reason: "", graceMs: 60_000 });
  expect(await waitOn(ledger, waitItem(sessionId, lease, channelId))).toBe("cancelling");
});

it("ends suspended jobs by cancel and deadline, and nothing of their waits is left (D3)", async () => {
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const cancelled = await desk.leased();
  const late = await desk.leased({ deadlineMs: Date.now() + 50 });
  await waitOn(ledger, waitItem(sessionId, cancelled, channel.channelId));
  await waitOn(ledger, waitItem(sessionId, late, channel.channelId));

  expect(
    await ledger.cancel({ jobId: cancelled.jobId, tenantId: 1, reason: "", graceMs: 60_000 }),
  ).toMatchObject({
    type: "cancelled",
    lease: null,
  });
  const stateOfLate = async () => {
    await ledger.fireDeadlines(100);
    return (await readRow(room, late.jobId)).state;
  };
  await expect.poll(stateOfLate, { timeout: 20_000 }).toBe(JobState.Dead);
  await publish();

  expect((await readRow(room, cancelled.jobId)).state).toBe(JobState.Cancelled);
  for (const { jobId } of [cancelled, late]) expect(await rowsOf("suspended", jobId)).toBe(0);
  const [head] = await room.sql("select is_awaited, is_waking from channel_partition where channel_id = $1", [
    channel.channelId,
  ]);
  expect(head).toEqual({ is_awaited: false, is_waking: false });
});

it("never starts a suspended job anew because its time to start passed", async () => {
  const lease = await desk.leased({ options: { startByMs: Date.now() + 1 } });
  const { channelId } = await openChannel(ledger);
  await waitOn(ledger, waitItem(sessionId, lease, channelId));
  await new Promise((resolve) => setTimeout(resolve, 5));
  await ledger.fireStartDeadlines(100);
  expect((await readRow(room, lease.jobId)).state).toBe(JobState.Parked);
});

it("counts an attempt once, however often it waits, and fails it as any other (D8)", async () => {
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const jobId = await submitOne(room, { retry: { ...defaultRetryPolicy, maxAttempts: 1 } });
  for (let after = 0; after < 5; after += 1) {
    const lease = await desk.claim(jobId);
    expect(lease.attempt).toBe(1);
    expect(
      await waitOn(ledger, waitItem(sessionId, lease, channel.channelId, { afterSequence: after })),
    ).toBe("suspended");
    await publish();
  }
  const last = await desk.claim(jobId);
  unrefused(await ledger.report([reportItem(sessionId, last, failed)]));
  expect((await readRow(room, jobId)).state).toBe(JobState.Dead);
});

it("wakes thousands in bounded transactions, and all of them", async () => {
  const count = 2_300;
  const channel = await openChannel(ledger);
  const publish = await channel.producer();
  const jobIds = await submitMany(room, count);
  const leases = (await claimAll(ledger, sessionId, jobIds, desk.nextDelivery())).flatMap((one) => one ?? []);
  const answers = await Promise.all(
    leases.map((lease) => waitOn(ledger, waitItem(sessionId, lease, channel.channelId))),
  );
  expect(new Set(answers)).toEqual(new Set(["suspended"]));

  await publish();
  const states = () =>
    room.sql<{ state: number; n: number }>(
      "select state, count(*)::integer as n from job where id = any($1) group by state order by state",
      [jobIds],
    );
  expect(await states()).toEqual([
    { state: JobState.Ready, n: 1_000 },
    { state: JobState.Parked, n: 1_300 },
  ]);
  // As another hub would after this one was killed: whatever is left is found in the ledger.
  const other = await room.openLedger();
  const rounds: number[] = [];
  for (let isMore = true; isMore; ) {
    const partitions = await other.readWaking();
    const woken = await other.wakeOn(partitions);
    rounds.push(woken.refs.length);
    isMore = woken.isMore;
  }
  expect(rounds).toEqual([1_000, 300]);
  expect(await states()).toEqual([{ state: JobState.Ready, n: count }]);
  expect(await other.readWaking()).toEqual([]);
  await other.stop();
}, 60_000);
