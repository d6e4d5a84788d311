import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { AuditService } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BundleDefect } from "../../src/domain/audit-check.js";
import { startHub } from "../../src/main.js";
import { makeAuditKey, trustKeys } from "../../src/services/audit-key.js";
import { checkLines, exportLines, operationsIn, pauseQueue } from "../harness/audit-bundles.js";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { quick, useHub } from "../harness/raw-hub.js";
import { until } from "../harness/raw-wait.js";

const { getHead, export: exportBundle } = AuditService.method;
const folder = await mkdtemp(join(tmpdir(), "holdfast-audit-"));
const keyFile = join(folder, "key.pem");
await makeAuditKey(keyFile);
const readSigned = await trustKeys([await readFile(`${keyFile}.pub`, "utf8")]);
afterAll(() => rm(folder, { recursive: true }));

const checked = (lines: readonly string[]) => checkLines(lines, readSigned);

describe("what an operator changes", () => {
  const house = useHub({ auditKey: keyFile });

  it("is sealed by itself, and exported as it is listed (D22)", async () => {
    const client = house.client();
    const none = await client.call(getHead, {});
    expect([none.head, none.waiting]).toEqual([undefined, 0]);
    await pauseQueue(client, "mail", "the provider is “down”\n");
    await until(async () => (await client.call(getHead, {})).head?.number === 1n, "the first seal");
    await pauseQueue(client, "letters");

    const lines = await exportLines(client);

    const head = await client.call(getHead, {});
    expect(head).toMatchObject({ head: { number: 2n, operations: 1, keyId: head.key?.keyId }, waiting: 0 });
    expect(await checked(lines)).toMatchObject({
      tenant: "default",
      first: 1,
      last: 2,
      operations: 2,
      head: head.head?.digest,
    });
    const { operations: listed } = await client.call(OperationService.method.list, {});
    expect(operationsIn(lines).reverse()).toMatchObject(
      listed.map(({ operationId, subject, action, target, justification, after }) => ({
        id: operationId,
        subject,
        action,
        target,
        reason: justification?.reason,
        ticket: justification?.ticket,
        before: null,
        after,
      })),
    );
    expect(house.lines).toContain(`sealed 1 operations of tenant default: seal 2, ${head.head?.digest}`);
  });

  it("goes into one chain, each act once, whichever of two hubs seals it (D22)", async () => {
    const peer = await house.startPeer();
    const there = openRawClient(peer.grpcAddress);
    const here = house.client();
    try {
      const queues = Array.from({ length: 120 }, (_, n) => `queue-${n}`);
      const exports: Promise<string[]>[] = [];
      for (const [n, queue] of queues.entries()) {
        await pauseQueue(n % 2 === 0 ? here : there, queue);
        if (n % 10 === 0) exports.push(exportLines(here), exportLines(there));
      }
      for (const lines of await Promise.all(exports)) await checked(lines);
      const lines = await exportLines(there);
      await checked(lines);
      const targets = operationsIn(lines).map(({ target }) => target);
      expect(new Set(targets).size).toBe(targets.length);
      expect(targets).toEqual(expect.arrayContaining(queues.map((queue) => `queue:default/${queue}`)));
    } finally {
      there.close();
    }
  });

  it("is exported in part, too, and seals that are not there are refused", async () => {
    const client = house.client();
    const { head } = await client.call(getHead, {});
    expect(await checked(await exportLines(client, { first: 2n, last: 2n }))).toMatchObject({
      first: 2,
      last: 2,
    });
    const last = (head?.number ?? 0n) + 1n;
    expect(await client.refused(exportBundle, { last })).toMatchObject({ code: 5, reason: "SEAL_NOT_FOUND" });
    expect(await client.refused(exportBundle, { first: last + 1n })).toMatchObject({
      reason: "SEAL_NOT_FOUND",
    });
    expect(await client.refused(exportBundle, { first: 2n, last: 1n })).toMatchObject({
      reason: "INVALID_FIELD",
    });
    expect(await client.refused(exportBundle, { first: -1n })).toMatchObject({ reason: "INVALID_FIELD" });
  });

  const numberOfMail = "(select seal_number from operation where target = 'queue:default/mail')";
  it.each([
    [
      "an operation was rewritten",
      "update operation set reason = 'another' where target = 'queue:default/mail'",
    ],
    ["who did it was rewritten", "update operation set subject = 'eve' where target = 'queue:default/mail'"],
    [
      "when was rewritten",
      "update operation set at = at + interval '1 us' where target = 'queue:default/mail'",
    ],
    ["a setting was rewritten", `update operation set after = '{}' where target = 'queue:default/mail'`],
    ["an operation was deleted", "delete from operation where target = 'queue:default/mail'"],
    [
      "an operation was put elsewhere",
      "update operation set seal_number = 2 where target = 'queue:default/mail'",
    ],
    [
      "one was added",
      `insert into operation select new_operation_id(), tenant_id, at, subject, action, 'x', reason, ticket,
        before, after, seal_number from operation where target = 'queue:default/mail'`,
    ],
    ["a seal was deleted", `delete from audit_seal where number = ${numberOfMail}`],
    [
      "seals changed places",
      "update audit_seal set seal = (select seal from audit_seal where number = 2) where number = 1",
    ],
  ])("of which %s in the ledger is not verified (D22)", async (_what, change) => {
    const client = house.client();
    await checked(await exportLines(client));
    await house.query("create table kept_operation as table operation");
    await house.query("create table kept_seal as table audit_seal");
    try {
      await house.query(change);
      await expect(exportLines(client, { last: 2n }).then(checked)).rejects.toBeInstanceOf(BundleDefect);
    } finally {
      await house.query("truncate operation, audit_seal");
      await house.query("insert into operation table kept_operation");
      await house.query("insert into audit_seal table kept_seal");
      await house.query("drop table kept_operation, kept_seal");
    }
  });

  // Each takes the ledger back as it was, and the hub with it, which has seen too much by then.
  it.each([
    ["its end was cut off", (head: bigint) => [`delete from audit_seal where number = ${head}`]],
    [
      "its end was cut off and another hub went on",
      (head: bigint) => [
        `update audit_seal set seal = (select seal from audit_seal where number = 1) where number = ${head}`,
        `insert into audit_seal select tenant_id, ${head + 1n}, seal from audit_seal where number = 2`,
      ],
    ],
    [
      "something else was put at its end",
      (head: bigint) => [
        `insert into audit_seal select tenant_id, ${head + 1n}, 'x' from audit_seal where number = 1`,
      ],
    ],
    [
      "a number was left out",
      (head: bigint) => [
        `insert into audit_seal select tenant_id, ${head + 9n}, seal from audit_seal where number = 1`,
      ],
    ],
    ["its tenant was given another name", () => ["update tenant set name = 'attic' where tenant_id = 1"]],
  ])("is not sealed any further by a hub that saw it when %s (D22)", async (_what, changes) => {
    const client = house.client();
    const { head } = await client.call(getHead, {});
    await house.query("create table kept_seal as table audit_seal");
    for (const change of changes(head?.number ?? 0n)) await house.query(change);
    await pauseQueue(client, "meanwhile", `${Math.random()}`);

    expect(await client.refused(exportBundle, {})).toMatchObject({ code: 15, reason: "HISTORY_CHANGED" });

    const told = "The sealed history of tenant default was changed in the ledger";
    await until(async () => house.lines.some((line) => line.includes(told)), "the hub to say so");
    const { changed } = await client.call(getHead, {}).catch(() => ({ changed: told }));
    expect(changed).toContain(told);
    await house.query("delete from audit_seal");
    await house.query("insert into audit_seal table kept_seal");
    await house.query("drop table kept_seal");
    await house.query("update tenant set name = 'default' where tenant_id = 1");
    await house.restart();
    await checked(await exportLines(house.client()));
  });
});

describe("without an audit key", () => {
  const house = useHub();

  it("a hub seals nothing, says so, and another does it for it", async () => {
    const client = house.client();
    await pauseQueue(client, "mail");
    const { head, waiting, key } = await client.call(getHead, {});
    expect([head, waiting, key]).toEqual([undefined, 1, undefined]);
    expect(await client.refused(exportBundle, {})).toMatchObject({ code: 9, reason: "AUDIT_KEY_MISSING" });
    expect(house.lines).toContain("this hub has no --audit-key: it does not seal what operators change");

    const options = { ...quick, databaseUrl: house.hub().databaseUrl, auditKey: keyFile };
    const sealing = await startHub(options, () => undefined);
    try {
      await until(async () => (await client.call(getHead, {})).head?.number === 1n, "the other hub's seal");
    } finally {
      await sealing.stop();
    }
  });

  it("and with a file that is none, it does not start", async () => {
    const options = { ...quick, databaseUrl: house.hub().databaseUrl };
    for (const auditKey of [join(folder, "absent.pem"), `${keyFile}.pub`])
      await expect(startHub({ ...options, auditKey }, () => undefined)).rejects.toThrow(
        /holdfast audit keygen/,
      );
  });
});

describe("tenants", () => {
  const house = useHub({ auditKey: keyFile });
  let admin: RawClient;
  const clientOf = async (tenant: string, scopes: string[]) => {
    const { apiKey } = await admin.call(AccessService.method.createKey, { subject: "ann", scopes, tenant });
    return house.client({ apiKey });
  };

  beforeAll(async () => {
    const scopes = ["access:admin", "audit:read", "limits:operate"];
    const { apiKey } = await house.client().call(AccessService.method.createKey, { subject: "root", scopes });
    admin = house.client({ apiKey });
  });

  it("have chains of their own, which need the scope audit:read", async () => {
    const ours = await clientOf("acme", ["audit:read", "limits:operate"]);
    await pauseQueue(ours, "mail");
    await pauseQueue(await clientOf("other", ["limits:operate"]), "letters");

    const lines = await exportLines(ours);

    expect(await checked(lines)).toMatchObject({ tenant: "acme", first: 1 });
    const targets = operationsIn(lines).map(({ target }) => target);
    expect(targets).toContain("queue:default/mail");
    expect(targets).not.toContain("queue:default/letters");
    // A tenant whose history was changed keeps none of the others waiting, however much of it waits.
    await house.query(
      "update audit_seal set seal = 'x' where tenant_id = (select tenant_id from tenant where name = 'acme')",
    );
    await pauseQueue(ours, "letters", "many");
    await house.query(`insert into operation select new_operation_id(), tenant_id, at, subject, action, target, reason, ticket,
      before, after, null from operation cross join generate_series(1, 12000) where reason = 'many'`);
    const theirs = await clientOf("other", ["audit:read", "limits:operate"]);
    await pauseQueue(theirs, "more");
    await until(async () => (await theirs.call(getHead, {})).waiting === 0, "the other tenant's seals");
    const blind = await clientOf("acme", ["fleet:read", "limits:operate"]);
    const missing = { code: 7, reason: "SCOPE_MISSING" };
    expect(await blind.refused(exportBundle, {})).toMatchObject(missing);
    expect(await blind.refused(getHead, {})).toMatchObject(missing);
  });
});
