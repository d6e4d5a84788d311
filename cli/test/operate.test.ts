import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { refusal } from "./fake-hub.js";
import { run } from "./run-cli.js";
import { withHub } from "./with-hub.js";

const STATUS = {
  hubVersion: "0.1.0",
  writerId: 7,
  startedAt: timestampFromMs(Date.now() - 60_000),
  streams: 3,
  ledger: {
    postgresVersion: "18.4",
    migration: 2,
    synchronousCommit: "on",
    roundTrip: durationFromMs(1),
    embedded: true,
  },
  lanes: [
    {
      product: "default",
      queue: "mail",
      kind: "send",
      priority: Priority.HIGH,
      capabilities: ["smtp"],
      retry: true,
      window: 20_000,
      hasRest: true,
      headAge: durationFromMs(90_000),
    },
  ],
};

describe("keys", () => {
  const key = {
    keyId: "4k2m9x0a7c1d",
    tenant: "default",
    subject: "ops",
    scopes: ["access:admin", "jobs:read"],
    createdAt: timestampFromMs(Date.now() - 3_600_000),
  };

  test("create passes what the key may do, and shows the secret once", async () => {
    const requests: unknown[] = [];
    const cli = await withHub({
      access: {
        createKey: (request) => {
          requests.push(request);
          return { key, apiKey: "hf_4k2m9x0a7c1d_secret" };
        },
      },
    });
    const args =
      "keys create --subject ops --scope access:admin,jobs:read --kind a --kind b --tenant t --expires +90d --ticket OPS-3";
    const text = await cli(...args.split(" "));
    const json = await cli(...args.split(" "), "--json");
    expect(text.stdout.match(/hf_4k2m9x0a7c1d_secret/g)).toHaveLength(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      key: { subject: "ops" },
      apiKey: "hf_4k2m9x0a7c1d_secret",
    });
    expect(requests[0]).toMatchObject({
      subject: "ops",
      scopes: ["access:admin", "jobs:read"],
      kinds: ["a", "b"],
      tenant: "t",
      expiresAt: { $typeName: "google.protobuf.Timestamp" },
      justification: { reason: "", ticket: "OPS-3" },
    });
  });

  test("list says which keys are good, ended and revoked", async () => {
    const cli = await withHub({
      access: {
        listKeys: () => ({
          keys: [
            key,
            { ...key, keyId: "b", expiresAt: timestampFromMs(Date.now() - 60_000) },
            { ...key, keyId: "c", revokedAt: timestampFromMs(Date.now() - 120_000) },
          ],
        }),
      },
    });
    const { stdout } = await cli("keys", "list");
    const states = stdout
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.split(/ {2,}/).at(-1));
    expect(states).toEqual(["good", "expired 1 min ago", "revoked 2 min ago"]);
  });

  test("revoke passes why, and answers with the key", async () => {
    const requests: unknown[] = [];
    const cli = await withHub({
      access: {
        revokeKey: (request) => {
          requests.push(request);
          return { key: { ...key, keyId: request.keyId, revokedAt: timestampFromMs(Date.now()) } };
        },
      },
    });
    expect((await cli("keys", "revoke", "x")).stdout).toMatch(/key +x\n[\s\S]*state +revoked now/);
    await cli("keys", "revoke", "x", "--reason", "the laptop was lost", "--ticket", "SEC-9");
    expect(requests).toMatchObject([
      { justification: { reason: "", ticket: "" } },
      { justification: { reason: "the laptop was lost", ticket: "SEC-9" } },
    ]);
  });
});

describe("status and sessions", () => {
  test("status shows the hub, its ledger and its lanes", async () => {
    const cli = await withHub({ fleet: { getStatus: () => STATUS } });
    const { stdout } = await cli("status");
    expect(stdout).toMatch(/hub +version 0\.1\.0, writer 7/);
    expect(stdout).toMatch(/ledger +PostgreSQL 18\.4 \(embedded\), migration 2, synchronous_commit on/);
    expect(stdout).toMatch(
      /default\/mail +send +high \(retries\) +smtp +- +- +20000 and more in the ledger +1 min/,
    );
  });

  test("events status shows how far each hub's events are, and what waits", async () => {
    const cursor = { host: "line-3", forwardedThrough: 41n, lastPage: 44n, claimedBy: 7 };
    const cli = await withHub({
      events: {
        getForwarding: () => ({
          sink: "nats",
          cursors: [
            { ...cursor, writerId: 7, waitingEvents: 1_200n, lag: { seconds: 90n, nanos: 0 } },
            { ...cursor, writerId: 6, ended: true },
            { ...cursor, writerId: 5, ended: true, done: true, claimedBy: 0 },
          ],
        }),
      },
    });
    const { stdout } = await cli("events", "status");
    expect(stdout).toMatch(/7 +line-3 +lives +41 of 44 +1200 +1 min\S* +7/);
    expect(stdout).toMatch(/6 +line-3 +ended +41 of 44 +0 +- +7/);
    expect(stdout).toMatch(/5 +line-3 +done +41 of 44 +0 +- +-/);
    expect(JSON.parse((await cli("events", "status", "--json")).stdout).cursors).toHaveLength(3);
  });

  test("events status says when a hub forwards nothing", async () => {
    const cli = await withHub({ events: { getForwarding: () => ({}) } });
    expect((await cli("events", "status")).stdout).toContain("--event-sink nats");
  });

  test("sessions shows who is attached, page after page", async () => {
    const session = {
      sessionId: "s1",
      workerName: "press-3",
      kinds: ["a", "b"],
      attachedAt: timestampFromMs(Date.now() - 7_200_000),
      expiresAt: timestampFromMs(Date.now() + 29_500),
      writerId: 7,
    };
    const cli = await withHub({
      fleet: {
        listSessions: ({ pageToken }) =>
          pageToken === ""
            ? { sessions: [session], nextPageToken: "2" }
            : { sessions: [{ ...session, sessionId: "s2", isDraining: true }] },
      },
    });
    const text = await cli("sessions");
    const json = await cli("sessions", "--json");
    expect(text.stdout).toMatch(/s1 +press-3 +- +a,b +- +2 h ago +in 29 s +7 +live/);
    expect(text.stdout).toMatch(/s2 .* draining/);
    expect(
      json.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).sessionId),
    ).toEqual(["s1", "s2"]);
  });
});

describe("doctor", () => {
  // Nothing serves gRPC there, so every one of these ends with at least one failure.
  const GRPC = ["--grpc", "127.0.0.1:1"];
  const statuses = (stdout: string): Record<string, string> =>
    Object.fromEntries(
      JSON.parse(stdout).checks.map(({ name, status }: { name: string; status: string }) => [name, status]),
    );

  test("looks at the machine, the hub, its ledger and the clock, and says what to do about each failure", async () => {
    const cli = await withHub({ fleet: { getStatus: () => STATUS } });
    const json = await cli("doctor", "--json", ...GRPC);
    const text = await cli("doctor", ...GRPC);
    expect(json.exitCode).toBe(EXIT.doctorFailed);
    expect(statuses(json.stdout)).toMatchObject({
      node: "ok",
      "hub (HTTP)": "ok",
      ledger: "ok",
      migration: "ok",
      durability: "ok",
      "round trip": "ok",
      clock: "ok",
      "hub (gRPC)": "fail",
    });
    expect(Object.keys(statuses(json.stdout))).toEqual(expect.arrayContaining(["disk", "open files"]));
    expect(text.stdout).toMatch(/^fail +hub \(gRPC\) .*\n +→ Start a hub/m);
  });

  test("looks at the gRPC port of every hub of a fleet, a line each", async () => {
    vi.stubEnv("HOLDFAST_ADDRESS", "127.0.0.1:1, 127.0.0.1:2");
    onTestFinished(() => void vi.unstubAllEnvs());
    const cli = await withHub({ fleet: { getStatus: () => STATUS } });
    const { stdout, exitCode } = await cli("doctor");
    expect(exitCode).toBe(EXIT.doctorFailed);
    expect(stdout.match(/^fail +hub \(gRPC\) +cannot be reached at \S+/gm)).toEqual([
      expect.stringMatching(/127\.0\.0\.1:1$/),
      expect.stringMatching(/127\.0\.0\.1:2$/),
    ]);
  });

  test("finds a ledger that would lose what was answered (D1)", async () => {
    const cli = await withHub({
      fleet: { getStatus: () => ({ ...STATUS, ledger: { ...STATUS.ledger, synchronousCommit: "off" } }) },
    });
    expect(statuses((await cli("doctor", "--json", ...GRPC)).stdout)).toMatchObject({ durability: "fail" });
  });

  test("tells a hub that refuses the question from one that cannot be reached", async () => {
    const cli = await withHub({
      fleet: {
        getStatus: () => {
          throw refusal(Code.PermissionDenied, "SCOPE_MISSING", "The key lacks fleet:read.");
        },
      },
    });
    expect(statuses((await cli("doctor", "--json", ...GRPC)).stdout)).toMatchObject({ "hub (HTTP)": "warn" });
    const away = await run(["doctor", "--json", "--hub", "http://127.0.0.1:1", ...GRPC]);
    expect(statuses(away.stdout)).toMatchObject({ "hub (HTTP)": "fail" });
  });
});
