import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BreakerPhase, type LimitSchema, LimitType } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { withHub } from "./with-hub.js";

const target = { target: { case: "queue", value: { product: "shop", queue: "mail" } } } as const;
const paused = {
  target,
  settings: { settings: { case: "pause" as const, value: {} } },
  note: "down",
  since: timestampFromMs(Date.now() - 60_000),
  shut: true,
  reason: "queue:shop/mail is paused: down",
  parkedJobs: 10_000,
  parkedAtLeast: true,
  waiting: [{ product: "shop", queue: "mail", kind: "send", window: 20_000, hasRest: true }],
} satisfies MessageInitShape<typeof LimitSchema>;

test("limits pause and resume say what for and why", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    limits: {
      set: (request) => {
        requests.push(request);
        return { limit: paused };
      },
      remove: (request) => {
        requests.push(request);
        return {};
      },
    },
  });
  const set = await cli("limits", "pause", "queue:shop/mail", "--reason", "down", "--ticket", "OPS-1");
  const gone = await cli("limits", "resume", "queue:shop/mail", "--json");
  expect(requests).toMatchObject([
    { target, settings: { settings: { case: "pause" } }, justification: { reason: "down", ticket: "OPS-1" } },
    { target, type: LimitType.PAUSE },
  ]);
  expect(set.stdout).toMatch(/state +shut: queue:shop\/mail is paused: down\n/);
  expect(set.stdout).toMatch(/parked +10000\+\n/);
  expect(set.stdout).toMatch(/shop\/mail +send .* 20000\+/);
  expect(JSON.parse(gone.stdout)).toEqual({ removed: true });
});

test("limits blackout reads windows as people write them, and limits ls writes them so", async () => {
  const requests: { settings?: unknown }[] = [];
  const windows = [
    { days: [1, 2, 3, 4, 5], fromMinute: 1320, toMinute: 360 },
    { days: [6, 1], fromMinute: 0, toMinute: 0 },
    { days: [], fromMinute: 720, toMinute: 780 },
  ];
  const cli = await withHub({
    limits: {
      set: (request) => {
        requests.push(request);
        return { limit: paused };
      },
      list: () => ({
        limits: [
          {
            target: { target: { case: "tenant", value: {} } },
            settings: {
              settings: { case: "blackout", value: { timeZone: "UTC", windows: windows.slice(0, 2) } },
            },
          },
        ],
      }),
    },
  });
  const args = ["limits", "blackout", "tenant", "--zone", "Europe/Berlin"];
  for (const window of ["mon-fri 22:00-06:00", "Sat,mon 00:00-00:00", "12:00-13:00"])
    args.push("--window", window);
  expect(await cli(...args)).toMatchObject({ exitCode: EXIT.ok });
  expect(requests[0]?.settings).toMatchObject({
    settings: { case: "blackout", value: { timeZone: "Europe/Berlin", windows } },
  });
  const { stdout } = await cli("limits", "ls");
  expect(stdout).toMatch(/blackout +tenant +mon,tue,wed,thu,fri 22:00-06:00; sat,mon 00:00-00:00 UTC +open/);
});

test.each([
  ["pause", "queue:mail"],
  ["pause", "everything"],
  ["blackout", "tenant", "--window", "25:00-26:00"],
  ["blackout", "tenant", "--window", "caturday 10:00-11:00"],
  ["get", "paws", "tenant"],
])("limits %s %s is refused without a call", async (...args) => {
  const cli = await withHub({});
  const { exitCode, stderr } = await cli("limits", ...args);
  expect(exitCode).toBe(EXIT.usage);
  expect(stderr).not.toBe("");
});

test("operations lists who changed what, and why", async () => {
  const cli = await withHub({
    operations: {
      list: () => ({
        operations: [
          {
            operationId: "0198c7f0-0000-7000-8000-000000000001",
            at: timestampFromMs(Date.now() - 60_000),
            action: "pause.set",
            target: "queue:shop/mail",
            justification: { reason: "down" },
            after: { note: "down" },
          },
        ],
      }),
    },
  });
  const text = await cli("operations");
  const json = await cli("operations", "--json");
  expect(text.stdout).toMatch(/- +pause\.set +queue:shop\/mail +down +-\n/);
  expect(JSON.parse(json.stdout)).toMatchObject({ action: "pause.set", after: { note: "down" } });
});

test("limits rate, quota and breaker say what they set", async () => {
  const requests: { settings?: unknown }[] = [];
  const cli = await withHub({
    limits: {
      set: (request) => {
        requests.push(request);
        return { limit: { ...paused, settings: request.settings ?? {} } };
      },
    },
  });
  const rate = await cli(
    "limits",
    "rate",
    "source:mail",
    "--per-second",
    "0.5",
    "--burst",
    "20",
    "--recovery",
    "1m",
  );
  await cli("limits", "rate", "tenant", "--per-second", "100");
  const quota = await cli(
    "limits",
    "quota",
    "tenant",
    "--starts",
    "5000",
    "--window",
    "1d",
    "--ticket",
    "S-1",
  );
  const breaker = await cli("limits", "breaker", "source:mail", "--ratio", "0.3", "--cool-down", "90s");
  expect(requests.map(({ settings }) => settings)).toMatchObject([
    {
      settings: {
        case: "bucket",
        value: { ratePerSecond: 0.5, capacity: 20n, adaptive: { recovery: { seconds: 60n } } },
      },
    },
    { settings: { case: "bucket", value: { ratePerSecond: 100, capacity: 0n } } },
    { settings: { case: "quota", value: { maxStarts: 5000n, window: { seconds: 86_400n } } } },
    { settings: { case: "breaker", value: { failureRatio: 0.3, coolDown: { seconds: 90n } } } },
  ]);
  expect(
    (requests[1] as { settings: { settings: { value: object } } }).settings.settings.value,
  ).not.toHaveProperty("adaptive.recovery");
  expect(rate.stdout).toMatch(/settings +0\.5\/s, 20 at once, adaptive from 0\/s in 1m\n/);
  expect(quota.stdout).toMatch(/settings +5000 per 1d\n/);
  expect(breaker.stdout).toMatch(/open 90s to 0s/);
});

test("limits rate refuses what is no rate", async () => {
  const cli = await withHub({ limits: {} });
  const refused = await cli("limits", "rate", "source:mail", "--per-second", "0");
  expect(refused.exitCode).toBe(EXIT.usage);
});

test("limits get shows what a breaker is at, and its turns, the newest first", async () => {
  const at = timestampFromMs(Date.now() - 5_000);
  const breaker = {
    phase: BreakerPhase.OPEN,
    since: at,
    answered: 3n,
    failed: 9n,
    turns: [
      { at, to: BreakerPhase.CLOSED, why: "3 probes were answered" },
      { at, to: BreakerPhase.OPEN, why: "9 of 12 failed" },
    ],
  };
  const cli = await withHub({
    limits: {
      get: () => ({
        limit: { ...paused, settings: { settings: { case: "breaker" as const, value: {} } }, breaker },
      }),
    },
  });
  const shown = await cli("limits", "get", "breaker", "source:mail");
  expect(shown.stdout).toMatch(/now +open since .*; 3 answered, 9 failed\n/);
  expect(shown.stdout.indexOf("9 of 12 failed")).toBeLessThan(shown.stdout.indexOf("3 probes were answered"));
});
