// Operations are kept in the statements that make the changes: so once, under the right name, however often a batch runs
// and whoever comes at the same moment.
import { randomBytes } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { defaultPolicy, OwnerType } from "../../src/domain/channel.js";
import type { Operator } from "../../src/domain/operation.js";
import type { Outcome } from "../../src/domain/outcome.js";
import { giveBackEffects } from "../../src/ledger/effect-give-back.js";
import type { BatchStatement } from "../../src/ledger/group-commit.js";
import { replayJobs } from "../../src/ledger/replay-jobs.js";
import { reviveJobs } from "../../src/ledger/revive-job.js";
import { runAgain } from "../harness/again.js";
import { acquire, holderOfScope, patienceMs } from "../harness/effect-acts.js";
import { failJobs } from "../harness/failing-jobs.js";
import { done, failed, operator, reportItem } from "../harness/ledger-acts.js";
import { openLedgerDesk } from "../harness/ledger-desk.js";

const { room, sessionId, leased } = await openLedgerDesk();
const ann: Operator = { tenantId: 1, subject: "ann", reason: "mended", ticket: "OPS-1" };
const bob: Operator = { tenantId: 1, subject: "bob", reason: "no longer needed", ticket: "" };

interface Kept extends Pick<Operator, "subject" | "reason" | "ticket"> {
  readonly action: string;
  readonly target: string;
}

const kept = (like: string) =>
  room.sql<Kept>(
    "select subject, reason, ticket, action, target from operation where target like $1 order by operation_id",
    [like],
  );

const again = async <Item, Result>(statement: BatchStatement<Item, Result>, items: readonly Item[]) =>
  (await runAgain(room.url, statement, items)).results;

async function ended(outcome: Outcome): Promise<string> {
  const lease = await leased();
  await room.ledger.report([reportItem(sessionId, lease, outcome)]);
  return lease.jobId;
}

const died = { ...failed, permanent: true } as Outcome;

describe("operators who share a batch are each kept under their name, and once when it runs again:", () => {
  it("sending dead letters back", async () => {
    const [first, second] = [await ended(died), await ended(died)];
    const items = [
      { jobId: first, ...ann },
      { jobId: second, ...bob },
      { jobId: first, ...bob },
    ];
    const mended = await failJobs(room, "update", ["40001"]);

    await room.ledger.reviveAll(items);
    await mended();
    await again(reviveJobs, items);

    const action = "dead_letter.retry";
    expect(await kept("job:%")).toEqual([
      { subject: "ann", reason: "mended", ticket: "OPS-1", action, target: `job:${first}` },
      { subject: "bob", reason: "no longer needed", ticket: "", action, target: `job:${second}` },
    ]);
  });

  it("taking effects away", async () => {
    const items = [];
    for (const { subject, reason } of [ann, bob]) {
      const holder = { ...holderOfScope(uuidv7()), subject: "till" };
      await acquire(room.ledger, holder);
      items.push({ ...holder, subject, reason, effectToken: null });
    }
    const released = holderOfScope(uuidv7());
    const giveUp = { ...released, effectToken: await acquire(room.ledger, released), reason: "too late" };

    await room.ledger.giveBackEffects([...items, giveUp], patienceMs);
    await again(giveBackEffects, [...items, giveUp]);

    expect(await kept("effect:%")).toMatchObject(
      items.map(({ subject, reason, name }) => ({ subject, reason, target: `effect:shop/${name.key}` })),
    );
  });

  it("replaying what has ended", async () => {
    const originalId = await ended(done);
    const item = {
      tenantId: 1,
      requestId: "replay",
      originalId,
      isRun: false,
      jobs: [{ originalId, jobId: uuidv7(), laneId: room.lane.laneId }],
      repeatsEffects: false,
      reason: "a new version",
      requestedBy: "ann",
    };

    expect(await room.ledger.replay(item)).toMatchObject({ type: "accepted" });
    expect(await again(replayJobs, [item])).toMatchObject([{ type: "existing" }]);

    const target = `job:${originalId}`;
    expect(await kept(target)).toEqual([
      { subject: "ann", reason: "a new version", ticket: "", action: "job.replay", target },
    ]);
  });
});

describe("of operators who do the same at the same moment one is kept, and all are answered:", () => {
  it("revoking a key", async () => {
    const keyId = "aaaaaaaaaaaa";
    const key = { keyId, tenant: "default", subject: "shop", scopes: ["jobs:read"], kinds: [] } as const;
    await room.ledger.insertKey(ann, { ...key, secretHash: randomBytes(32), expiresAtMs: null });

    const [one, other] = await Promise.all(
      [ann, bob].map((operator) => room.ledger.revokeKey(operator, null, keyId)),
    );

    expect(one?.revokedAtMs).toEqual(expect.any(Number));
    expect(other?.revokedAtMs).toBe(one?.revokedAtMs);
    const actions = (await kept(`key:${keyId}`)).map(({ action }) => action);
    expect(actions).toEqual(["key.create", "key.revoke"]);
  });

  it("setting the policy of a channel", async () => {
    const name = { ownerType: OwnerType.Name, owner: "press-3", name: "heat" };
    const { signals } = room.ledger;
    await Promise.all(
      [ann, bob].map((operator) => signals.insertChannel(1, name, 1, defaultPolicy, operator)),
    );
    const channelId = (await signals.readChannel(1, name))?.channelId as number;
    const policy = { ...defaultPolicy, maxBytes: 1 << 20 };

    const answers = await Promise.all(
      [ann, bob, ann].map((operator) => signals.configureChannel(operator, channelId, policy)),
    );

    expect(answers).toMatchObject([policy, policy, policy]);
    expect(await kept("channel:press-3/heat")).toMatchObject([
      { action: "channel.set" },
      { action: "channel.set" },
    ]);
  });

  it("resolving a dead letter", async () => {
    const jobId = await ended(died);

    const found = await Promise.all(
      [bob, bob].map((operator) => room.ledger.resolveDeadLetters(operator, [jobId])),
    );

    expect(found).toEqual([new Set([jobId]), new Set([jobId])]);
    expect(await kept(`job:${jobId}`)).toMatchObject([{ action: "dead_letter.resolve", subject: "bob" }]);
  });
});

it("an entry of the inbox that waits is answered as it is, and nothing is kept", async () => {
  const [row] = await room.sql<{ id: string }>("select submit('greet') as id");
  const jobId = row?.id as string;

  expect(await room.ledger.retryInboxEntry(operator("impatient"), jobId)).toMatchObject({
    jobId,
    refusal: null,
  });
  expect(await room.ledger.discardInboxEntry(operator("impatient"), jobId)).toBeNull();

  expect(await kept("inbox:%")).toEqual([]);
});
