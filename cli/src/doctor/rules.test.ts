import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { GetHeadResponseSchema } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import { type LedgerStatus, LedgerStatusSchema } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { describe, expect, test } from "vitest";
import { judgeAudit } from "./audit.js";
import { judgeClock } from "./clock.js";
import { judgeGrpc } from "./hub.js";
import { judgeLedger } from "./ledger.js";
import { judgeDisk, judgeNode, judgeOpenFiles } from "./machine.js";

test.each([
  ["20.19.0", "ok"],
  ["20.18.9", "fail"],
  ["22.0.0", "ok"],
  ["18.20.0", "fail"],
])("Node.js %s is %s", (version, status) => {
  expect(judgeNode(version).status).toBe(status);
});

test.each([
  [100, "fail"],
  [1_024, "warn"],
  [4_096, "ok"],
])("%d MiB of free disk are %s", (mebibytes, status) => {
  expect(judgeDisk("somewhere", mebibytes * 1024 * 1024).status).toBe(status);
});

test.each([
  ["128", "fail"],
  ["1024", "warn"],
  ["65536", "ok"],
  ["unlimited", "ok"],
  ["", "fail"],
])('an open file limit of "%s" is %s', (limit, status) => {
  expect(judgeOpenFiles(limit).status).toBe(status);
});

test.each([
  ["nothing waits", 0, undefined, false, "ok"],
  ["a change waits for a moment", 3, 2_000, false, "ok"],
  ["changes wait at a hub without a key", 3, 61_000, false, "warn"],
  ["changes wait at a hub with a key", 3, 61_000, true, "fail"],
])("an audit is judged when %s", (_when, waiting, waitedMs, hasKey, status) => {
  const nowMs = 1_800_000_000_000;
  const head = create(GetHeadResponseSchema, {
    waiting,
    ...(waitedMs !== undefined && { oldestWaitingAt: timestampFromMs(nowMs - waitedMs) }),
    ...(hasKey && { key: { keyId: "k" } }),
  });
  expect(judgeAudit(head, nowMs).status).toBe(status);
});

describe("a ledger", () => {
  const statusesOf = (change: Partial<LedgerStatus>) => {
    const ledger = create(LedgerStatusSchema, {
      postgresVersion: "15.9",
      migration: 1,
      synchronousCommit: "on",
      roundTrip: durationFromMs(1),
      ...change,
    });
    return judgeLedger(ledger).map(({ status }) => status);
  };

  test.each([
    [{}, ["ok", "ok", "ok", "ok"]],
    [{ postgresVersion: "14.2" }, ["fail", "ok", "ok", "ok"]],
    [{ migration: 0 }, ["ok", "fail", "ok", "ok"]],
    [{ synchronousCommit: "remote_apply" }, ["ok", "ok", "ok", "ok"]],
    [{ synchronousCommit: "local" }, ["ok", "ok", "fail", "ok"]],
    [{ roundTrip: durationFromMs(50) }, ["ok", "ok", "ok", "warn"]],
    [{ roundTrip: durationFromMs(5_000) }, ["ok", "ok", "ok", "fail"]],
  ])("with %o is judged %j", (change, statuses) => {
    expect(statusesOf(change)).toEqual(statuses);
  });
});

test.each([
  ["Thu, 01 Jan 1970 00:01:40 GMT", "ok"],
  ["Thu, 01 Jan 1970 00:01:45 GMT", "warn"],
  ["Thu, 01 Jan 1970 00:01:35 GMT", "warn"],
  ["Thu, 01 Jan 1970 01:00:00 GMT", "fail"],
  ["yesterday", "warn"],
  [null, "warn"],
])("a hub that says %s at 00:01:40.5 is %s", (date, status) => {
  expect(judgeClock(date, 100_400, 100_600).status).toBe(status);
});

test.each([
  [{ kind: "serving" }, "ok"],
  [{ kind: "not serving", healthStatus: 2 }, "fail"],
  [{ kind: "no health service", message: "" }, "fail"],
  [{ kind: "unreachable", message: "ECONNREFUSED" }, "fail"],
] as const)("a gRPC port that is %o is judged %s", (health, status) => {
  expect(judgeGrpc("127.0.0.1:7420", health).status).toBe(status);
});
