import { create, toBinary } from "@bufbuild/protobuf";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { LeasesSchema, LostReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import type { ToRunner } from "../port.js";
import { requestField } from "../wire/attach-frame.js";
import { ResultBatch } from "../wire/result-batch.js";
import { asBuffer } from "../wire/wire-cursor.js";
import type { Attachment } from "./attachment.js";
import { newWindow } from "./held-window.js";
import { LeaseDesk } from "./lease-desk.js";
import { Outlet } from "./outlet.js";

const unlimited = { jobs: 1e6, bytes: 1e9 };

/** A desk with a stream that only notes what is sent, and a runner that only notes what it is told. */
function desk() {
  const posted: ToRunner[] = [];
  const sent: string[] = [];
  const stream = {
    isLive: true,
    isAttaching: false,
    send: (field: number) => {
      sent.push(Object.entries(requestField).find(([, number]) => number === field)?.[0] ?? "");
      return true;
    },
  };
  const outlet = new Outlet();
  outlet.follow(stream as unknown as Attachment);
  const leases = new LeaseDesk(
    newWindow(10, 10, 0),
    1_000,
    outlet,
    (message) => posted.push(message),
    () => false,
  );
  return { leases, posted, sent, stream };
}

function lease(leases: LeaseDesk, ...jobIds: string[]): void {
  leaseUnder(leases, ...jobIds.map((jobId) => [jobId, 1n] as const));
}

function leaseUnder(leases: LeaseDesk, ...tokens: (readonly [jobId: string, fencingToken: bigint])[]): void {
  const message = create(LeasesSchema, {
    delivery: 1n,
    leases: tokens.map(([jobId, fencingToken]) => ({
      jobId,
      fencingToken,
      payload: new Uint8Array(10),
      disconnectPolicy: DisconnectPolicy.STOP,
    })),
  });
  const bytes = asBuffer(toBinary(LeasesSchema, message));
  leases.receive(bytes, 0, bytes.length, true);
}

/** What the runner would say when these refs ended well. */
function results(...refs: number[]) {
  const batch = new ResultBatch();
  const id = Buffer.from("job");
  for (const ref of refs)
    batch.addSuccess(ref, { bytes: id, jobIdStart: 0, jobIdEnd: 3, token: 1 }, "ok", 2, "");
  return batch.take();
}

test("a result that crosses the loss of its lease does not count, and its credit returns", () => {
  const { leases, sent } = desk();
  leases.grantCredit({ jobs: 0, bytes: 0 }, unlimited);
  lease(leases, "a", "b", "c");
  const b = leases.table.byRef(2);
  if (b !== undefined) leases.lose([b], { kind: "taken", message: "" });
  const { results: counted, report, creditBytes } = leases.endWithResults(results(1, 2, 3));
  expect(counted.map(({ jobId }) => jobId)).toEqual(["a", "c"]);
  expect(counted.map(({ start, end }) => end - start)).toEqual([report.length / 2, report.length / 2]);
  expect(creditBytes).toBe(20);
  leases.grantCredit({ jobs: 0, bytes: 0 }, unlimited);
  leases.creditBack(counted.length, creditBytes);
  leases.grantCredit({ jobs: 0, bytes: 0 }, unlimited);
  leases.grantCredit({ jobs: 0, bytes: 0 }, unlimited);
  expect(sent).toEqual(["credit", "credit", "credit"]);
});

test("an answer for a lease that is gone is ignored", () => {
  const { leases, sent } = desk();
  lease(leases, "a");
  leases.release([1], false);
  leases.release([1], false);
  leases.release([77], false);
  expect(leases.endWithResults(results(1, 77)).results).toEqual([]);
  expect(sent).toEqual(["release"]);
});

test("a release of more leases than a message may hold goes in several", () => {
  const { leases, sent } = desk();
  const jobIds = Array.from({ length: 2_001 }, (_, i) => `job-${i}`);
  lease(leases, ...jobIds);
  leases.release(
    jobIds.map((_, i) => i + 1),
    false,
  );
  expect(sent).toEqual(["release", "release", "release"]);
});

test("of the leases that a hello named, those that the hub kept but the worker has not are given back", () => {
  const { leases, sent, stream } = desk();
  lease(leases, "a", "b", "c");
  stream.isLive = false;
  stream.isAttaching = true;
  leases.beginHello();
  leases.release([2], false);
  stream.isLive = true;
  stream.isAttaching = false;
  const verdict = (jobId: string, kept: boolean, lostReason = LostReason.UNSPECIFIED) => ({
    $typeName: "holdfast.v1.HeldVerdict" as const,
    jobId,
    fencingToken: 1n,
    kept,
    lostReason,
  });
  const judged = leases.judge(
    [
      verdict("a", true),
      verdict("b", true),
      verdict("c", false, LostReason.STALE_FENCE),
      verdict("d", false, LostReason.REPORTED),
      verdict("e", false, LostReason.SESSION_EXPIRED),
    ],
    0,
  );
  expect(judged).toEqual({ lost: 1, reported: ["d/1"] });
  expect(sent).toEqual(["release"]);
  expect([...leases.table.held()].map(({ jobId }) => jobId)).toEqual(["a"]);
});

test("a lease under a higher token replaces the older one, which is lost before the runner has the new one (D4)", () => {
  const { leases, posted } = desk();
  leaseUnder(leases, ["a", 1n], ["b", 1n]);
  leaseUnder(leases, ["a", 3n]);
  expect(posted.map(({ type }) => type)).toEqual(["leases", "lost", "leases"]);
  expect(posted[1]).toMatchObject({ refs: [1], cause: { kind: "taken" } });
  expect([...leases.table.held()].map(({ key }) => key)).toEqual(["a/3", "b/1"]);
  expect(leases.endWithResults(results(1)).results).toEqual([]);
  expect(leases.endWithResults(results(3)).results.map(({ key }) => key)).toEqual(["a/3"]);
});

test("a lease under the token of the one that is held, or a lower one, is not passed on and costs no credit", () => {
  const { leases, posted, sent } = desk();
  leaseUnder(leases, ["a", 3n]);
  leaseUnder(leases, ["a", 3n], ["a", 1n]);
  expect(posted.map(({ type }) => type)).toEqual(["leases"]);
  leases.release([1], true);
  expect(sent).toEqual(["release"]);
  expect(leases.table.heldCount).toBe(0);
});

test("of two leases of one job in a message the lower token is lost", () => {
  const { leases, posted } = desk();
  leaseUnder(leases, ["a", 1n], ["a", 3n]);
  expect(posted).toMatchObject([
    { type: "leases", firstRef: 1 },
    { type: "lost", refs: [1] },
  ]);
  expect([...leases.table.held()].map(({ key }) => key)).toEqual(["a/3"]);
});
