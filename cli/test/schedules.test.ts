import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { BackfillState, WindowState } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { CatchUpPolicy, OverlapPolicy } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { refusal } from "./fake-hub.js";
import { jsonError } from "./run-cli.js";
import { withHub } from "./with-hub.js";

const backfillId = "0198c7f0-0000-7000-8000-000000000001";
const jobId = "0198c7f0-0000-7000-8000-000000000002";
const at = (text: string) => timestampFromMs(Date.parse(text));
const schedule = {
  name: "nightly",
  spec: {
    cadence: { cadence: { case: "cron", value: { expression: "30 2 * * *", zone: "Europe/Berlin" } } },
    job: { kind: "report" },
    overlap: OverlapPolicy.QUEUE_ONE,
    catchUp: CatchUpPolicy.LAST,
    catchUpWindow: durationFromMs(86_400_000),
  },
  paused: true,
  pauseReason: "the database moves",
  pausedAt: timestampFromMs(Date.now() - 60_000),
  fired: 3n,
} as const;
const range = {
  source: "clicks",
  from: at("2027-01-01T00:00:00Z"),
  to: at("2027-01-02T00:00:00Z"),
  step: durationFromMs(3_600_000),
};
const backfill = {
  backfillId,
  range,
  state: BackfillState.RUNNING,
  inFlightMax: 20,
  windows: { total: 24, done: 3, submitted: 20, failed: 1 },
};

test("schedules set says cadence, policies and job, and shows what stands there", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    schedules: {
      set: (request) => {
        requests.push(request);
        return { schedule };
      },
    },
  });
  const text = await cli(
    ...["schedules", "set", "nightly", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--kind", "report"],
    ...["--payload", '{"n":1}', "--label", "team=press", "--overlap", "queue-one", "--catch-up", "last"],
    ...["--jitter", "30s", "--event-source", "clicks", "--reason", "asked for", "--ticket", "T-1"],
  );
  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout).toMatch(/cadence +30 2 \* \* \* \(Europe\/Berlin\)/);
  expect(text.stdout).toMatch(/state +paused 1 min ago: the database moves/);
  expect(requests).toMatchObject([
    {
      name: "nightly",
      spec: {
        cadence: { cadence: { case: "cron", value: { expression: "30 2 * * *", zone: "Europe/Berlin" } } },
        job: { kind: "report", contentType: "application/json", labels: { team: "press" } },
        overlap: OverlapPolicy.QUEUE_ONE,
        catchUp: CatchUpPolicy.LAST,
        jitter: { seconds: 30n },
        eventSource: "clicks",
      },
      justification: { reason: "asked for", ticket: "T-1" },
    },
  ]);
});

test.each([
  [["set", "n", "--kind", "k", "--reason", "r"], "either --cron or --every"],
  [
    ["set", "n", "--kind", "k", "--reason", "r", "--every", "1m", "--cron", "* * * * *"],
    "either --cron or --every",
  ],
  [["set", "n", "--kind", "k", "--reason", "r", "--every", "1m", "--zone", "UTC"], "--zone is for --cron"],
  [
    ["set", "n", "--kind", "k", "--reason", "r", "--cron", "* * * * *", "--anchor", "+1h"],
    "--anchor is for --every",
  ],
  [["next", "n", "--every", "1m"], "do not go together"],
  [["pause", "n"], "--reason"],
])("schedules %j is refused before any call", async (args, said) => {
  const cli = await withHub({});
  const text = await cli("schedules", ...args);
  expect(text).toMatchObject({ exitCode: EXIT.usage, stderr: expect.stringContaining(said) });
});

test("schedules ls, get, pause, resume, trigger, rm and next each call what they say", async () => {
  const calls: [string, unknown][] = [];
  const answer = (name: string) => (request: unknown) => {
    calls.push([name, request]);
    return { schedule };
  };
  const cli = await withHub({
    schedules: {
      list: () => ({ schedules: [schedule], nextPageToken: "" }),
      get: answer("get"),
      pause: answer("pause"),
      resume: answer("resume"),
      delete: answer("delete"),
      trigger: () => ({ schedule, jobId }),
      previewTimes: () => ({ times: [at("2026-03-29T01:00:00Z")] }),
    },
  });
  expect((await cli("schedules", "ls")).stdout).toMatch(/nightly +30 2 \* \* \* \(Europe\/Berlin\) +report/);
  for (const verb of ["pause", "resume", "rm"])
    expect((await cli("schedules", verb, "nightly", "--reason", "why")).exitCode).toBe(EXIT.ok);
  expect(JSON.parse((await cli("schedules", "get", "nightly", "--json")).stdout).schedule).toMatchObject({
    spec: { overlap: "OVERLAP_POLICY_QUEUE_ONE" },
    pauseReason: "the database moves",
  });
  expect((await cli("schedules", "trigger", "nightly", "--reason", "again")).stdout).toContain(jobId);
  const next = await cli("schedules", "next", "--cron", "30 2 * * *", "--zone", "Europe/Berlin");
  expect(next.stdout).toContain("2026-03-29T01:00:00.000Z");
  expect(calls).toMatchObject([
    ["pause", { name: "nightly", justification: { reason: "why" } }],
    ["resume", { name: "nightly" }],
    ["delete", { name: "nightly" }],
    ["get", { name: "nightly" }],
  ]);
});

test("backfills preview counts, and start passes range, pace, job and justification on", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    backfills: {
      preview: () => ({
        total: 24,
        done: 12,
        open: 1,
        toRun: 11,
        first: [{ source: "clicks", from: range.from, to: range.to }],
      }),
      start: (request) => {
        requests.push(request);
        return { backfill };
      },
    },
  });
  const of = ["clicks", "--from", "2027-01-01T00:00:00Z", "--to", "2027-01-02T00:00:00Z", "--step", "1h"];
  const preview = await cli("backfills", "preview", ...of);
  const started = await cli(
    ...["backfills", "start", ...of, "--kind", "load", "--in-flight", "20", "--per-minute", "60"],
    ...["--reason", "the hole", "--ticket", "OPS-17"],
  );
  expect(preview.stdout).toContain("24 windows: 12 done, 1 that live jobs are at, 11 to run");
  expect(started.stdout).toMatch(/windows +24: 3 done, 20 submitted, 1 failed/);
  expect(requests).toMatchObject([
    {
      range,
      job: { kind: "load" },
      inFlightMax: 20,
      perMinuteMax: 60,
      justification: { reason: "the hole", ticket: "OPS-17" },
    },
  ]);
  const bare = await cli("backfills", "start", ...of, "--kind", "load", "--reason", "the hole");
  expect(bare).toMatchObject({ exitCode: EXIT.usage, stderr: expect.stringContaining("--ticket") });
});

test("backfills ls, get, windows, pause, resume and cancel each call what they say", async () => {
  const calls: [string, unknown][] = [];
  const answer = (name: string) => (request: unknown) => {
    calls.push([name, request]);
    return { backfill };
  };
  const cli = await withHub({
    backfills: {
      list: () => ({ backfills: [backfill] }),
      get: answer("get"),
      pause: answer("pause"),
      resume: answer("resume"),
      cancel: answer("cancel"),
      listWindows: () => ({
        windows: [{ from: range.from, to: range.to, state: WindowState.FAILED, jobId }],
      }),
    },
  });
  const why = ["--reason", "why", "--ticket", "T"];
  expect((await cli("backfills", "ls")).stdout).toMatch(/clicks +2027-01-01T00:00:00.000Z .* running +24:/);
  expect((await cli("backfills", "get", backfillId)).stdout).toContain("20 at once");
  expect((await cli("backfills", "windows", backfillId, "--state", "failed")).stdout).toMatch(
    new RegExp(`failed +${jobId}`),
  );
  for (const verb of ["pause", "resume"]) await cli("backfills", verb, backfillId, ...why);
  await cli("backfills", "cancel", backfillId, "--open", "--grace", "30s", ...why);
  expect(calls).toMatchObject([
    ["get", { backfillId }],
    ["pause", { backfillId, justification: { ticket: "T" } }],
    ["resume", { backfillId }],
    ["cancel", { backfillId, cancelOpen: true, grace: { seconds: 30n } }],
  ]);
  const graceAlone = await cli("backfills", "cancel", backfillId, "--grace", "30s", ...why);
  expect(graceAlone.exitCode).toBe(EXIT.usage);
});

test("watermarks ls and get show how far a source is done", async () => {
  const watermark = {
    source: "clicks",
    origin: range.from,
    watermark: range.to,
    open: 2,
    failed: 1,
    done: [range],
  };
  const cli = await withHub({
    backfills: {
      listWatermarks: () => ({ watermarks: [{ ...watermark, done: [] }] }),
      getWatermark: () => ({
        watermark: { ...watermark, done: [{ source: "clicks", from: range.from, to: range.to }] },
      }),
    },
  });
  expect((await cli("watermarks", "ls")).stdout).toMatch(/clicks +2027-01-02T00:00:00.000Z/);
  expect((await cli("watermarks", "get", "clicks")).stdout).toMatch(/done +2027-01-01T.* to 2027-01-02T/);
});

test("what the hub refuses is said with its reason", async () => {
  const cli = await withHub({
    backfills: {
      get: () => {
        throw refusal(Code.NotFound, "BACKFILL_NOT_FOUND", "There is no such backfill.");
      },
    },
  });
  const text = await cli("backfills", "get", backfillId, "--json");
  expect(text.exitCode).toBe(EXIT.notFound);
  expect(jsonError(text)).toMatchObject({ reason: "BACKFILL_NOT_FOUND" });
});
