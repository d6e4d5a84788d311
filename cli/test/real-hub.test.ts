import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JobFailure, type RunningWorker, startWorker } from "@holdfast/worker";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type HoldfastProcess, processesOf, spawnHoldfast } from "./holdfast-process.js";
import { jsonError, run } from "./run-cli.js";

// The commands on a real hub with its embedded PostgreSQL, and a real worker.

let place = "";
let hub: HoldfastProcess;
let worker: RunningWorker;
let url = "";
let grpc = "";

const cli = (...args: string[]) => run([...args, "--hub", url]);
const json = async (...args: string[]) => {
  const result = await cli(...args, "--json");
  return { ...result, lines: result.stdout.trim().split("\n") };
};

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "holdfast-hub-"));
  hub = spawnHoldfast(
    [
      "hub",
      "--json",
      "--data-dir",
      join(place, ".holdfast"),
      "--grpc-listen",
      "127.0.0.1:0",
      "--http-listen",
      "127.0.0.1:0",
    ],
    { cwd: place },
  );
  const [, grpcAddress = "", httpAddress = ""] = await hub.says(
    /"listening","grpcAddress":"([^"]+)","httpAddress":"([^"]+)"/,
  );
  grpc = grpcAddress;
  url = `http://${httpAddress}`;
  worker = startWorker({
    address: grpc,
    name: "greeter",
    journal: join(place, "journal"),
    handleSignals: false,
    log: () => {},
    handlers: {
      greet: (job) => `Hello, ${job.json<{ name: string }>().name}`,
      fail: () => {
        throw new JobFailure("NO_PAPER", "the tray is empty", { permanent: true });
      },
      hang: (job) =>
        new Promise((_, reject) => job.signal.addEventListener("abort", () => reject(job.signal.reason))),
    },
  });
}, 120_000);
afterAll(async () => {
  await worker?.stop();
  hub.child.kill("SIGTERM");
  expect(await hub.ended).toBe(EXIT.ok);
  expect(hub.stdout().trimEnd().split("\n").at(-1)).toBe('{"event":"stopped"}');
  expect(await processesOf(place)).toEqual(new Map());
  await rm(place, { recursive: true, force: true });
}, 60_000);

test("hub --json says its whole configuration without secrets, and where it listens, one line each", () => {
  const lines = hub
    .stdout()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines[0]).toMatchObject({ event: "config", config: { databaseUrl: null, sessionTtlMs: 30_000 } });
  expect(lines).toContainEqual({
    event: "listening",
    grpcAddress: grpc,
    httpAddress: url.replace("http://", ""),
  });
});

describe("a job's life", { timeout: 60_000 }, () => {
  test("submit --wait shows the result; get and watch tell the same afterwards", async () => {
    const submitted = await json(
      "submit",
      "greet",
      "--payload",
      '{"name":"Ada"}',
      "--label",
      "run=1",
      "--wait",
    );
    expect(submitted.exitCode).toBe(EXIT.ok);
    const { jobId, job } = JSON.parse(submitted.stdout);
    expect(job).toMatchObject({ state: "JOB_STATE_SUCCEEDED", resultValue: "Hello, Ada" });
    const got = JSON.parse((await json("get", jobId, "--history")).stdout);
    expect(got.history.map(({ state }: { state: string }) => state)).toEqual([
      "JOB_STATE_READY",
      "JOB_STATE_LEASED",
      "JOB_STATE_SUCCEEDED",
    ]);
    const watched = await json("watch", jobId);
    expect(watched.exitCode).toBe(EXIT.ok);
    expect(watched.lines.map((line) => JSON.parse(line).event?.revision).filter(Boolean)).toEqual([1, 2, 3]);
  });

  test("an idempotency key finds the first job, and is refused for another content (D2)", async () => {
    const submit = (name: string) =>
      json("submit", "greet", "--payload", JSON.stringify({ name }), "--idempotency-key", "once");
    const first = JSON.parse((await submit("Ada")).stdout);
    const second = JSON.parse((await submit("Ada")).stdout);
    const other = await submit("Grace");
    expect(first).toMatchObject({ existing: false });
    expect(second).toEqual({ jobId: first.jobId, existing: true });
    expect(other.exitCode).toBe(EXIT.refused);
    expect(jsonError(other).reason).toBe("IDEMPOTENCY_CONFLICT");
  });

  test("a dead letter ends a wait with 7, is listed, and can be retried", async () => {
    const submitted = await cli("submit", "fail", "--payload", "{}", "--wait");
    expect(submitted.exitCode).toBe(EXIT.jobNotSucceeded);
    expect(submitted.stdout).toMatch(/permanent failure NO_PAPER: the tray is empty/);
    const dead = (await json("list", "--state", "dead", "--kind", "fail")).lines.map((line) =>
      JSON.parse(line),
    );
    expect(dead).toHaveLength(1);
    expect((await cli("list", "--state", "dead")).stdout).toContain("NO_PAPER: the tray is empty");
    expect((await cli("retry", dead[0].id)).exitCode).toBe(EXIT.ok);
    expect((await cli("watch", dead[0].id)).exitCode).toBe(EXIT.jobNotSucceeded);
  });

  test("a running job can be cancelled; a watch of it ends with 7, a second cancel changes nothing", async () => {
    const { jobId } = JSON.parse((await json("submit", "hang")).stdout);
    const watched = cli("watch", jobId);
    expect((await cli("submit", "hang", "--wait", "--timeout", "300ms")).exitCode).toBe(EXIT.timedOut);
    const cancelled = JSON.parse((await json("cancel", jobId, "--reason", "enough")).stdout);
    expect(cancelled.job).toMatchObject({ state: "JOB_STATE_CANCELLED" });
    expect((await watched).exitCode).toBe(EXIT.jobNotSucceeded);
    expect((await cli("cancel", jobId)).exitCode).toBe(EXIT.ok);
    const open = (await json("list", "--kind", "hang", "--state", "leased,ready")).lines.map((line) =>
      JSON.parse(line),
    );
    for (const job of open) {
      expect((await cli("cancel", job.id, "--grace", "0s")).exitCode).toBe(EXIT.ok);
    }
  });

  test("a batch takes the good lines and names the bad one", async () => {
    const lines = '{"payload":{"name":"A"}}\n{"kind":"Not A Kind"}\n{"payload":{"name":"C"}}\n';
    const result = await run(
      ["submit", "greet", "--batch", "-", "--label", "run=2", "--json", "--hub", url],
      {
        stdin: lines,
      },
    );
    expect(result.exitCode).toBe(EXIT.refused);
    const answers = result.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(answers.map(({ line, refused }) => [line, refused?.reason])).toEqual([
      [1, undefined],
      [2, "INVALID_FIELD"],
      [3, undefined],
    ]);
    const listed = await json("list", "--label", "run=2", "--all");
    expect(listed.lines.map((line) => JSON.parse(line).id).sort()).toEqual(
      [answers[0].jobId, answers[2].jobId].sort(),
    );
  });

  test("a job that does not exist is 3, an id that is none is 4", async () => {
    expect((await cli("get", "01900000-0000-7000-8000-000000000000")).exitCode).toBe(EXIT.notFound);
    expect((await cli("get", "nonsense")).exitCode).toBe(EXIT.refused);
  });
});

test("status, sessions and doctor see the hub, its ledger and the worker", async () => {
  expect(JSON.parse((await json("status")).stdout)).toMatchObject({
    ledger: { synchronousCommit: "on" },
    streams: 1,
  });
  expect((await json("sessions")).lines.map((line) => JSON.parse(line).workerName)).toEqual(["greeter"]);
  const doctor = await run(["doctor", "--json", "--hub", url, "--grpc", grpc]);
  expect(doctor.exitCode, doctor.stdout).toBe(EXIT.ok);
});

test("retention uses the running ledger, and drops nothing of today", { timeout: 60_000 }, async () => {
  const dataDir = join(place, ".holdfast");
  const result = await run(["retention", "--keep", "1d", "--dry-run", "--json", "--data-dir", dataDir]);
  expect(result.exitCode, result.stderr).toBe(EXIT.ok);
  expect(JSON.parse(result.stdout)).toEqual({ isDryRun: true, dropped: [], kept: [], unforwarded: [] });
  expect((await cli("status")).exitCode).toBe(EXIT.ok);
});

describe("keys", { timeout: 60_000 }, () => {
  test("the first must be an administrator's, and ends the time without keys", async () => {
    const wrong = await json("keys", "create", "--subject", "ops", "--scope", "jobs:read");
    expect(wrong.exitCode).toBe(EXIT.refused);
    expect(jsonError(wrong).reason).toBe("FIRST_KEY_NOT_ADMIN");

    const made = JSON.parse(
      (await json("keys", "create", "--subject", "ops", "--scope", "access:admin")).stdout,
    );
    const admin = ["--api-key", made.apiKey];
    expect((await cli("list")).exitCode).toBe(EXIT.notAuthorised);
    expect(jsonError(await json("list", ...admin)).reason).toBe("SCOPE_MISSING");
    expect((await cli("keys", "list", ...admin)).stdout).toMatch(/ops +access:admin +all +.*good/);

    const reader = JSON.parse(
      (await json("keys", "create", "--subject", "r", "--scope", "jobs:read", ...admin)).stdout,
    );
    expect((await cli("list", "--api-key", reader.apiKey)).exitCode).toBe(EXIT.ok);
    expect((await cli("keys", "revoke", reader.key.keyId, ...admin)).stdout).toMatch(/state +revoked/);
    expect((await cli("list", "--api-key", reader.apiKey)).exitCode).toBe(EXIT.notAuthorised);
  });
});
