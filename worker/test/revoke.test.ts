import { RevokeReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { type JobContext, JobFailure, RevokedError } from "../src/index.js";
import { type HubStream, until } from "./scripted-hub.js";
import { gate, testHub, testWorker } from "./test-worker.js";

const grace = { seconds: 10n };

/** Leases one job to a handler that waits for its signal, and then does what the test wants. */
async function revocable(atAbort: (job: JobContext) => Promise<string> | string) {
  const hub = await testHub();
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: async (job) => {
        await new Promise((resolve) => job.signal.addEventListener("abort", resolve));
        return await atAbort(job);
      },
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => worker.stats().running === 1, "the handler");
  return { worker, stream };
}

const outcome = (stream: HubStream) => stream.results[0]?.outcome?.outcome;

test("a cancelled job whose handler gives up is reported as cancelled, for the reason given", async () => {
  const { worker, stream } = await revocable((job) => {
    throw job.signal.reason;
  });
  stream.revoke({ jobId: "a", reason: RevokeReason.CANCELLED, grace, message: "not needed any more" });
  await until(() => stream.results.length === 1, "the result");
  expect(outcome(stream)).toMatchObject({ case: "cancelled", value: { reason: "not needed any more" } });
  await until(() => worker.stats().committed === 1, "the verdict");
  expect(worker.stats().failed).toBe(0);
});

test("the handler learns who takes the job away and why, and may save a checkpoint and finish all the same", async () => {
  let reason: unknown;
  const { stream } = await revocable(async (job) => {
    reason = job.signal.reason;
    await job.saveCheckpoint("so far");
    return "finished after all";
  });
  stream.revoke({ jobId: "a", reason: RevokeReason.PREEMPTED, grace, message: "" });
  await until(() => stream.all("checkpoint").length === 1, "the checkpoint");
  expect(reason).toBeInstanceOf(RevokedError);
  expect(reason).toMatchObject({ reason: "preempted", message: "the job was revoked: preempted" });
  stream.checkpointSaved({ jobId: "a", sequence: 1n });
  await until(() => stream.results.length === 1, "the result");
  expect(outcome(stream)?.case).toBe("success");
});

test("a preempted job whose handler gives up goes back to the hub, to be continued elsewhere", async () => {
  const { stream } = await revocable(() => {
    throw new Error("stopped half way");
  });
  stream.revoke({ jobId: "a", reason: RevokeReason.PREEMPTED, grace });
  await until(() => stream.released.length === 1, "the release");
  expect(stream.released).toEqual(["a started"]);
  expect(stream.results).toEqual([]);
});

test("a job past its deadline whose handler gives up has failed for good", async () => {
  const { stream } = await revocable(() => {
    throw new Error("stopped half way");
  });
  stream.revoke({ jobId: "a", reason: RevokeReason.DEADLINE, grace, message: "late" });
  await until(() => stream.results.length === 1, "the result");
  expect(outcome(stream)).toMatchObject({
    value: { code: "DEADLINE_EXCEEDED", message: "late", permanent: true },
  });
});

test("a failure that the handler chose stays that failure", async () => {
  const { stream } = await revocable(() => {
    throw new JobFailure("CHOSEN", "on purpose");
  });
  stream.revoke({ jobId: "a", reason: RevokeReason.CANCELLED, grace });
  await until(() => stream.results.length === 1, "the result");
  expect(outcome(stream)).toMatchObject({ case: "failure", value: { code: "CHOSEN" } });
});

test("a job taken away without grace is stopped, and nothing is said of it any more (D4)", async () => {
  let reason: unknown;
  const { worker, stream } = await revocable((job) => {
    reason = job.signal.reason;
    return "too late";
  });
  await until(() => stream.credit.jobs === 31, "the grant");
  stream.revoke({ jobId: "a", reason: RevokeReason.CANCELLED });
  await until(() => worker.stats().running === 0, "the end");
  expect(reason).toBeInstanceOf(RevokedError);
  await until(() => stream.credit.jobs === 32, "the credit");
  expect(stream.results).toEqual([]);
  expect(stream.released).toEqual([]);
});

test.each([
  ["cancelled", RevokeReason.CANCELLED, "cancelled", []],
  ["preempted", RevokeReason.PREEMPTED, undefined, ["b waiting"]],
] as const)("a waiting job that is %s never starts", async (_, reason, expected, released) => {
  const hub = await testHub();
  const running = gate();
  const started: string[] = [];
  const worker = testWorker({
    address: hub.address,
    concurrency: 1,
    handlers: {
      work: ({ id }) => {
        started.push(id);
        return running.opened;
      },
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => worker.stats().waiting === 1, "both leases");
  stream.revoke({ jobId: "b", reason, grace });
  await until(() => stream.results.length + stream.released.length === 1, "the answer");
  expect(outcome(stream)?.case).toBe(expected);
  expect(stream.released).toEqual(released);
  running.open();
  await until(() => stream.reported.includes("a"), "the other job");
  expect(started).toEqual(["a"]);
});

test("a handler that looks at its signal only after the fact finds it aborted, with the reason", async () => {
  const hub = await testHub();
  const running = gate();
  const seen: Record<string, unknown> = {};
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: async (job) => {
        await running.opened;
        seen[job.id] = job.signal.aborted && job.signal.reason;
      },
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => worker.stats().running === 2, "the handlers");
  stream.revoke({ jobId: "b", reason: RevokeReason.CANCELLED, grace, message: "first" });
  stream.revoke({ jobId: "b", reason: RevokeReason.PREEMPTED, grace, message: "second" });
  stream.lease({ jobId: "c" });
  await until(() => worker.stats().running === 3, "what was sent after the revoke");
  running.open();
  await until(() => stream.results.length === 3, "the results");
  expect(seen).toEqual({ a: false, b: new RevokedError("cancelled", "first"), c: false });
});

test("a lease under a higher token replaces the older one of its job, whose handler is stopped before the new one starts (D4)", async () => {
  const hub = await testHub();
  const steps: string[] = [];
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: ({ fencingToken, signal }) =>
        new Promise<string>((resolve) => {
          steps.push(`started ${fencingToken}`);
          signal.addEventListener("abort", () => {
            steps.push(`stopped ${fencingToken}: ${signal.reason.name}`);
            resolve("too late");
          });
          if (fencingToken === 3n) resolve("done");
        }),
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a", fencingToken: 1n });
  await until(() => worker.stats().running === 1, "the first handler");
  stream.lease({ jobId: "a", fencingToken: 3n });
  await until(() => worker.stats().committed === 1, "the verdict");
  await until(() => worker.stats().running === 0, "both handlers");
  expect(steps).toEqual(["started 1", "stopped 1: LeaseLostError", "started 3"]);
  expect(stream.results).toMatchObject([{ jobId: "a", fencingToken: 3n }]);
  expect(stream.released).toEqual([]);
});
