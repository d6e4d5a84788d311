// What operators do is kept: who did it, why, and what stood there before and since; once, and only if it changed anything.
import { readFile } from "node:fs/promises";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { DeadLetterService } from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { EffectService } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import { InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, test } from "vitest";
import { methodScopes } from "../../src/rpc/call-guard.js";
import { limitActs } from "../harness/limit-acts.js";
import { operatorActs } from "../harness/operator-acts.js";
import {
  effectName,
  justification,
  keyScopes,
  type OperatorAct,
  openOperatorDesk,
  ownReason,
  planted,
} from "../harness/operator-desk.js";

const access = AccessService.method;
const jobs = JobService.method;
const deadLetters = DeadLetterService.method;
const inbox = InboxService.method;
const effects = EffectService.method;
const signals = SignalService.method;
const because = ownReason.reason;

const desk = openOperatorDesk();
const acts = [...operatorActs(desk), ...limitActs(desk)];

/** Calls that need as much and are not kept, with why. */
const notKept: Readonly<Record<string, string>> = {
  "AccessService.ListKeys": "it changes nothing",
  "BudgetService.AccrueSpend": "it is spend, kept as an accrual with its request_id and note",
};

function partsOf(apiKey: string): { readonly keyId: string; readonly secret: string } {
  const [, keyId = "", ...secret] = apiKey.split("_");
  return { keyId, secret: secret.join("_") };
}

/** As the table of call-guard.ts writes it. */
const nameOf = ({ method }: OperatorAct) => `${method.parent.name}.${method.name}`;

async function operations(target = "") {
  return (await desk.client().call(OperationService.method.list, { target, pageSize: 500 })).operations;
}

/** Nobody but the tests acts on this hub, so what came meanwhile came of that. */
async function keptOf(act: () => Promise<unknown>, target = "") {
  const known = new Set((await operations(target)).map(({ operationId }) => operationId));
  await act();
  return (await operations(target)).filter(({ operationId }) => !known.has(operationId));
}

describe("what an operator does is kept with who, why, and what stood there before and since:", () => {
  test.each(acts.map((act) => ({ ...act, name: `${nameOf(act)} ${act.what ?? ""}`.trim() })))(
    "$name",
    async (row) => {
      const { act, target, why, before, after, isNewEachTime = false } = await row.scene();

      const [kept, ...others] = await keptOf(act);

      expect(others).toEqual([]);
      expect(kept).toMatchObject({
        subject: "ops",
        action: row.action,
        ...(target !== null && { target }),
        justification: why,
      });
      expect(kept?.before).toEqual(before);
      expect(kept?.after).toEqual(after);
      expect(await operations(kept?.target)).toContainEqual(kept);
      if (isNewEachTime) return;
      expect(await keptOf(() => act().catch(() => undefined))).toEqual([]);
    },
  );

  test("the first key of all, by nobody in particular", async () => {
    const kept = await operations(`key:${partsOf(desk.apiKey()).keyId}`);
    expect(kept).toMatchObject([
      { subject: "", action: "key.create", justification, after: { subject: "ops", tenant: "default" } },
    ]);
  });

  test("keys of another tenant, in that tenant, with whose doing it was", async () => {
    const request = { subject: "chief", scopes: ["access:admin", "fleet:read"], tenant: "north" };
    const { apiKey, key: made } = await desk.client().call(access.createKey, request);
    const north = desk.house.client({ apiKey });
    const keyId = await desk.key("north");
    await north.call(access.revokeKey, { keyId });
    await desk.client().call(access.revokeKey, { keyId: made?.keyId ?? "" });

    const kept = await desk.house.query(
      `select o.subject, action, target, before ->> 'byTenant' as before_by, after ->> 'byTenant' as by
       from operation o join tenant t using (tenant_id) where t.name = 'north' order by operation_id`,
    );

    const [chief, shop] = [`key:${made?.keyId}`, `key:${keyId}`];
    expect(kept).toEqual([
      { subject: "ops", action: "key.create", target: chief, before_by: null, by: "default" },
      { subject: "ops", action: "key.create", target: shop, before_by: null, by: "default" },
      { subject: "chief", action: "key.revoke", target: shop, before_by: null, by: null },
      { subject: "ops", action: "key.revoke", target: chief, before_by: null, by: "default" },
    ]);
    expect(await operations(chief)).toEqual([]);
  });

  test("each of the dead letters that go back together", async () => {
    const ids = [await desk.ended("HTTP_500"), await desk.ended("HTTP_500")];
    const value = { jobIds: [...ids, uuidv7()] };

    const kept = await keptOf(
      desk.call(deadLetters.retry, { target: { case: "jobs", value }, reason: because }),
    );

    expect(kept.map(({ target }) => target).sort()).toEqual(ids.map((jobId) => `job:${jobId}`).sort());
  });

  test("but not what comes of work: a channel that is made by publishing, an effect that its holder gives up", async () => {
    const key = await desk.heldEffect();
    const kept = await keptOf(async () => {
      await desk.readChannel();
      await desk.client().call(effects.abandon, { name: effectName(key), effectToken: 1n, reason: because });
    });
    expect(kept).toEqual([]);
  });
});

describe("an act that is refused", () => {
  const absent = uuidv7();
  const channel = { name: "nowhere" };
  test.each([
    ["a retry of no job", desk.call(jobs.retry, { jobId: absent })],
    ["a replay of no job", desk.call(jobs.replay, { requestId: "r", jobId: absent })],
    ["a resolution without a note", desk.call(deadLetters.resolve, { jobs: { jobIds: [absent] } })],
    ["a revocation of no key", desk.call(access.revokeKey, { keyId: "aaaaaaaaaaaa", justification })],
    [
      "a key that has ended",
      desk.call(access.createKey, { subject: "x", scopes: keyScopes, expiresAt: timestampFromMs(1) }),
    ],
    [
      "a ticket that is too long",
      desk.call(access.createKey, {
        subject: "x",
        scopes: keyScopes,
        justification: { ticket: "x".repeat(257) },
      }),
    ],
    [
      "a channel of no job",
      desk.call(signals.configureChannel, {
        channel: { name: "a", owner: { case: "jobId", value: absent } },
      }),
    ],
    ["a cursor of no channel", desk.call(signals.resetCursor, { channel, consumer: "c", reason: because })],
    ["an entry that is not there", desk.call(inbox.retry, { jobId: absent, justification })],
    ["an entry that is not there, discarded", desk.call(inbox.discard, { jobId: absent, justification })],
    [
      "an effect that is not there",
      desk.call(effects.abandon, { name: effectName("none"), reason: because }),
    ],
  ])("is not kept: %s", async (_, act) => {
    const kept = await keptOf(async () => {
      await expect(act()).rejects.toMatchObject({ domain: "holdfast" });
    });
    expect(kept).toEqual([]);
  });

  test("is not kept: one whose caller lacks the scope", async () => {
    const { apiKey } = await desk.client().call(access.createKey, { subject: "reader", scopes: keyScopes });
    const reader = desk.house.client({ apiKey });
    const [jobId, keyId, held] = [await desk.ended("HTTP_502"), await desk.key(), await desk.heldEffect()];
    const kept = await keptOf(async () => {
      const refusal = { reason: "SCOPE_MISSING" };
      expect(await reader.refused(jobs.retry, { jobId })).toMatchObject(refusal);
      expect(await reader.refused(access.revokeKey, { keyId })).toMatchObject(refusal);
      expect(
        await reader.refused(effects.abandon, { name: effectName(held), reason: because }),
      ).toMatchObject(refusal);
    });
    expect(kept).toEqual([]);
  });
});

test("no payload, result, signal, checkpoint or secret is in any record", async () => {
  const rows = await desk.house.query<{ text: string }>("select operation::text as text from operation");
  expect(rows.length).toBeGreaterThan(acts.length);
  const kept = rows.map(({ text }) => text).join("\n");
  const { keyId, secret } = partsOf(desk.apiKey());
  const [hash] = await desk.house.query<{ hash: string }>(
    "select encode(secret_hash, 'hex') as hash from api_key where key_id = $1",
    [keyId],
  );
  expect(hash?.hash).toMatch(/^[0-9a-f]{64}$/);
  const hidden = [planted, Buffer.from(planted).toString("base64"), Buffer.from(planted).toString("hex")];
  for (const text of [...hidden, secret, hash?.hash]) expect(kept).not.toContain(text);
});

test("every call that only operators and admins may make is kept, or said above why not", () => {
  const isOperators = (scope: string) => scope === "access:admin" || scope.endsWith(":operate");
  const operators = Object.entries(methodScopes).filter(([, needed]) => [needed].flat().some(isOperators));
  const known = new Set([...acts.map(nameOf), ...Object.keys(notKept)]);
  expect([...known].sort()).toEqual(operators.map(([method]) => method).sort());
});

test("docs/operations.md has every action in its table", async () => {
  const text = await readFile(new URL("../../../docs/operations.md", import.meta.url), "utf8");
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  for (const { action } of acts) {
    // The actions of all types of limits have one row.
    const named = action.replace(/^pause\./, "TYPE.");
    expect(rows.filter((row) => row.split("|")[1]?.includes(`\`${named}\``))).toHaveLength(1);
  }
});
