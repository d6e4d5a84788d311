import { once } from "node:events";
import http from "node:http";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { EventService } from "@holdfast/gen/holdfast/v1/event_service_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { describe, expect, test } from "vitest";
import { splitAddress } from "../../src/domain/address.js";
import { startHub } from "../../src/main.js";
import type { RawClient } from "../harness/raw-client.js";
import { quick, useHub } from "../harness/raw-hub.js";
import { submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, greeting } from "../harness/raw-worker.js";

const house = useHub();
const { createKey, listKeys, revokeKey } = AccessService.method;
const { submit, submitBatch, get, list, cancel, retry, watch } = JobService.method;

let admin: RawClient;
/** A client with a new key. */
const clientWith = async (
  scopes: string[],
  more: { tenant?: string; kinds?: string[]; subject?: string } = {},
) => {
  const { apiKey, key } = await admin.call(createKey, { subject: "someone", scopes, ...more });
  return { client: house.client({ apiKey }), keyId: key?.keyId ?? "" };
};
const absent = "01980000-0000-7000-8000-000000000000";
const unauthenticated = { code: 16, reason: "UNAUTHENTICATED", domain: "holdfast" };

test("without any key the hub refuses to listen where others could reach it", async () => {
  const options = { ...quick, databaseUrl: house.hub().databaseUrl };
  for (const exposed of [{ grpcListen: "0.0.0.0:0" }, { httpListen: "0.0.0.0:0" }])
    await expect(startHub({ ...options, ...exposed }, () => undefined)).rejects.toThrow(/holds no API key/);
});

test("without any key everybody is tenant default, and the first key must be an admin's", async () => {
  const open = house.client();
  await submitOne(open);
  expect(await open.refused(createKey, { subject: "reader", scopes: ["jobs:read"] })).toMatchObject({
    code: 9,
    reason: "FIRST_KEY_NOT_ADMIN",
    domain: "holdfast",
  });
  const every = ["access:admin", "jobs:submit", "jobs:read", "jobs:cancel", "jobs:operate", "fleet:read"];
  const { apiKey, key } = await open.call(createKey, { subject: "admin", scopes: every });
  expect(key?.tenant).toBe("default");
  expect(apiKey).toMatch(new RegExp(`^hf_${key?.keyId}_[0-9A-Za-z_-]{43}$`));
  admin = house.client({ apiKey });
});

test("the first key closes the hub: no key, a made-up key and a key with another secret are all refused", async () => {
  const { apiKey } = await admin.call(createKey, { subject: "real", scopes: ["jobs:read"] });
  const forgeries = [
    undefined,
    "",
    `hf_aaaaaaaaaaaa_${"A".repeat(43)}`,
    `${apiKey.slice(0, -2)}zz`,
    apiKey.slice(3),
  ];
  for (const forged of forgeries) {
    const client = house.client(forged === undefined ? {} : { apiKey: forged });
    expect(await client.refused(list, {})).toMatchObject(unauthenticated);
    const stream = client.attach();
    stream.send({ case: "hello", value: greeting });
    expect(await stream.ended).toMatchObject(unauthenticated);
  }
});

describe("without a key", () => {
  // Two bytes each, which a parser turns into an object of some hundred.
  const emptyJobs = Buffer.from("0a00".repeat(4 << 20), "hex");

  test("what is sent to the gRPC port is refused before it is unfolded", async () => {
    const before = process.resourceUsage().maxRSS;
    expect(await house.client().refusedBytes(submitBatch, emptyJobs)).toMatchObject(unauthenticated);
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(300 << 10);
  });

  for (const contentType of [
    "application/proto",
    "application/json",
    "application/connect+proto",
    "application/grpc-web+proto",
  ])
    test(`what is sent to the HTTP port as ${contentType} is refused before it is read`, async () => {
      const { host, port } = splitAddress(house.hub().httpAddress);
      const method = contentType === "application/connect+proto" ? watch : submitBatch;
      const path = `/${method.parent.typeName}/${method.name}`;
      const headers = { "content-type": contentType, "content-encoding": "gzip", "content-length": 1 << 20 };
      const request = http.request({ host, port, path, method: "POST", headers });
      request.on("error", () => undefined);
      request.write("the rest never comes");
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      request.destroy();
      const answer = `${response.statusCode} ${JSON.stringify(response.headers)} ${Buffer.concat(chunks)}`;
      expect(answer).toMatch(/unauthenticated|grpc-status: ?16/);
    });
});

test("the ledger keeps a hash of a key's secret, and nothing shows it again", async () => {
  const { apiKey } = await admin.call(createKey, { subject: "hidden", scopes: ["jobs:read"] });
  const secret = apiKey.split("_").slice(2).join("_");
  const stored = await house.query("select api_key::text as text from api_key");
  expect(stored.map((row) => row.text).join()).not.toContain(secret);
  const { keys } = await admin.call(listKeys, {});
  expect(
    JSON.stringify(keys, (_, value) => (typeof value === "bigint" ? Number(value) : value)),
  ).not.toContain(secret);
  expect(house.lines.join("\n")).not.toContain(secret);
});

test("each call asks for its own scope, and for no other", async () => {
  const calls = [
    ["jobs:submit", (c: RawClient) => c.refused(submit, {})],
    ["jobs:read", (c: RawClient) => c.refused(get, { jobId: absent })],
    ["jobs:read", (c: RawClient) => c.refused(list, { pageSize: -1 })],
    ["jobs:read", (c: RawClient) => c.refused(watch, { targets: [] })],
    ["jobs:cancel", (c: RawClient) => c.refused(cancel, { jobId: absent })],
    ["jobs:operate", (c: RawClient) => c.refused(retry, { jobId: absent })],
    ["workers:attach", (c: RawClient) => c.refused(WorkerService.method.claim, {})],
    ["workers:attach", (c: RawClient) => c.refused(WorkerService.method.renew, {})],
    ["workers:attach", (c: RawClient) => c.refused(WorkerService.method.report, {})],
    ["fleet:read", (c: RawClient) => c.refused(FleetService.method.listSessions, { pageSize: -1 })],
    ["access:admin", (c: RawClient) => c.refused(listKeys, { pageSize: -1 })],
    ["access:admin", (c: RawClient) => c.refused(createKey, {})],
    ["access:admin", (c: RawClient) => c.refused(revokeKey, {})],
  ] as const;
  const scopes = [...new Set(calls.map(([scope]) => scope))];
  for (const held of scopes) {
    const { client } = await clientWith([held]);
    for (const [needed, call] of calls) {
      const { code, reason, metadata } = await call(client);
      if (needed === held) expect(reason).not.toBe("SCOPE_MISSING");
      else
        expect({ code, reason, metadata }).toEqual({
          code: 7,
          reason: "SCOPE_MISSING",
          metadata: { scope: needed },
        });
    }
  }
});

test("how far events are forwarded is for fleet:read alone, and says when they are not", async () => {
  const [reader, other] = [await clientWith(["fleet:read"]), await clientWith(["jobs:read"])];
  expect(await reader.client.call(EventService.method.getForwarding, {})).toMatchObject({
    sink: "",
    cursors: [],
  });
  expect(await other.client.refused(EventService.method.getForwarding, {})).toMatchObject({
    reason: "SCOPE_MISSING",
    metadata: { scope: "fleet:read" },
  });
});

test("a key that is limited to some kinds submits and works on no other", async () => {
  const { client } = await clientWith(["jobs:submit", "workers:attach"], { kinds: ["mine"] });
  const refusal = { code: 7, reason: "KIND_NOT_ALLOWED", domain: "holdfast", metadata: { kind: "theirs" } };
  expect(await client.refused(submit, { job: { kind: "theirs" } })).toMatchObject(refusal);
  const stream = client.attach();
  stream.send({ case: "hello", value: { ...greeting, kinds: ["mine", "theirs"] } });
  expect(await stream.ended).toMatchObject(refusal);
  const worker = { ...greeting, kinds: ["theirs"] };
  expect(
    await client.refused(WorkerService.method.claim, { requestId: "1", worker, maxJobs: 1 }),
  ).toMatchObject(refusal);
  const jobId = await submitOne(client, { kind: "mine" });
  const attached = await attachWorker(client, { kinds: ["mine"] });
  attached.credit(1);
  expect((await attached.lease()).jobId).toBe(jobId);
});

test("to another tenant a job is absent: it cannot be read, listed, watched, cancelled, retried or leased", async () => {
  const jobId = await submitOne(admin, { kind: "private", idempotencyKey: "one" });
  const every = [
    "jobs:submit",
    "jobs:read",
    "jobs:cancel",
    "jobs:operate",
    "workers:attach",
    "fleet:read",
    "access:admin",
  ];
  const { client } = await clientWith(every, { tenant: "elsewhere" });
  for (const failure of [
    await client.refused(get, { jobId }),
    await client.refused(watch, { targets: [{ jobId }] }),
    await client.refused(cancel, { jobId }),
    await client.refused(retry, { jobId }),
  ]) {
    const missing = await client.refused(get, { jobId: absent });
    expect({ ...failure, metadata: {} }).toEqual({ ...missing, metadata: {} });
  }
  expect((await client.call(list, {})).jobs).toEqual([]);
  expect((await client.call(listKeys, {})).keys.map((key) => key.tenant)).toEqual(["elsewhere"]);
  expect((await client.call(FleetService.method.getStatus, {})).lanes).toEqual([]);
  const worker = await attachWorker(client, { kinds: ["private"] });
  worker.credit(10);
  expect(await submitOne(client, { kind: "private", idempotencyKey: "one" })).not.toBe(jobId);
  expect((await worker.lease()).jobId).not.toBe(jobId);
  const { sessions } = await client.call(FleetService.method.listSessions, {});
  expect(sessions.map((session) => session.sessionId)).toEqual([worker.welcome.sessionId]);
  expect(
    await client.refused(createKey, { subject: "s", scopes: ["jobs:read"], tenant: "default" }),
  ).toMatchObject({
    reason: "INVALID_FIELD",
    metadata: { field: "tenant" },
  });
});

test("who makes keys for other tenants lists and revokes them; others see and revoke only their own", async () => {
  const south = await clientWith(["access:admin"], { tenant: "south", subject: "of south" });
  const { keys } = await admin.call(listKeys, { tenant: "south" });
  expect(keys.map(({ keyId, subject }) => ({ keyId, subject }))).toEqual([
    { keyId: south.keyId, subject: "of south" },
  ]);
  expect((await admin.call(listKeys, { tenant: "nowhere" })).keys).toEqual([]);
  expect(await south.client.refused(listKeys, { tenant: "default" })).toMatchObject({
    reason: "INVALID_FIELD",
    metadata: { field: "tenant" },
  });
  const ours = await clientWith(["jobs:read"]);
  expect(await south.client.refused(revokeKey, { keyId: ours.keyId })).toMatchObject({
    reason: "KEY_NOT_FOUND",
  });
  await ours.client.call(list, {});
  expect((await admin.call(revokeKey, { keyId: south.keyId })).key?.revokedAt).toBeDefined();
  expect(await south.client.refused(listKeys, {})).toMatchObject(unauthenticated);
});

test("revoking a key fails its calls at once and ends its streams, those that watch too; others go on", async () => {
  const scopes = ["workers:attach", "jobs:submit", "jobs:read"];
  const revoked = await clientWith(scopes, { subject: "revoked" });
  const good = await clientWith(scopes, { subject: "good" });
  const jobId = await submitOne(revoked.client, { kind: "watched" });
  const worker = await attachWorker(revoked.client);
  const other = await attachWorker(good.client);
  const seen: unknown[] = [];
  const watching = (async () => {
    for await (const update of revoked.client.serverStream(watch, { targets: [{ jobId }] }))
      seen.push(update);
  })().catch((failure: unknown) => failure);
  await until(() => seen.length === 1, "the watch");
  const { key } = await admin.call(revokeKey, { keyId: revoked.keyId });
  expect(key?.revokedAt).toBeDefined();
  expect(await worker.stream.ended).toMatchObject(unauthenticated);
  expect(await watching).toMatchObject(unauthenticated);
  expect(await revoked.client.refused(get, { jobId })).toMatchObject(unauthenticated);
  await other.stream.next("heartbeat");
  const again = await admin.call(revokeKey, { keyId: revoked.keyId });
  expect(again.key?.revokedAt).toEqual(key?.revokedAt);
});

test("a session that came back with another key stands and falls with that one, on a stream and by calls", async () => {
  const subject = "rotating";
  const [former, latter] = [
    await clientWith(["workers:attach"], { subject }),
    await clientWith(["workers:attach"], { subject }),
  ];
  const first = await attachWorker(former.client);
  first.vanish();
  const { sessionId } = first.welcome;
  const back = await attachWorker(latter.client, { sessionId });
  expect(back.welcome.resumed).toBe(true);
  const { claim, renew } = WorkerService.method;
  const called = await former.client.call(claim, { requestId: "1", worker: greeting, maxJobs: 1 });
  await latter.client.call(renew, { sessionId: called.sessionId });

  await admin.call(revokeKey, { keyId: former.keyId });

  await latter.client.call(renew, { sessionId: called.sessionId });
  const mark = 1n << 40n;
  back.stream.send({ case: "heartbeat", value: { nonce: mark, echo: 0n } });
  await back.stream.next("heartbeat", ({ echo }) => echo === mark);

  // As another hub would, whose message did not come.
  await house.query("update api_key set revoked_at = now() where key_id = $1", [latter.keyId]);
  expect(await back.stream.ended).toMatchObject(unauthenticated);
});

test("a key with an end is good until then", async () => {
  const soon = Date.now() + 400;
  const { apiKey } = await admin.call(createKey, {
    subject: "brief",
    scopes: ["jobs:read"],
    expiresAt: { seconds: BigInt(Math.floor(soon / 1_000)), nanos: (soon % 1_000) * 1e6 },
  });
  const client = house.client({ apiKey });
  await client.call(list, {});
  const ended = () =>
    client.call(list, {}).then(
      () => false,
      (failure) => failure.reason === "UNAUTHENTICATED",
    );
  await until(ended, "the end of the key");
});
