import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { HoldfastError, type JobContext, LeaseLostError } from "../src/index.js";
import { until } from "./scripted-hub.js";
import { testHub, testWorker } from "./test-worker.js";

/** A worker whose one running job is in the hands of the test. */
async function runningJob(lease: { checkpoint?: { sequence: bigint; state: Uint8Array } } = {}) {
  const hub = await testHub();
  let job: JobContext | undefined;
  let finish: (value: string) => void = () => {};
  const worker = testWorker({
    address: hub.address,
    handlers: {
      work: (context) => {
        job = context;
        return new Promise<string>((resolve) => {
          finish = resolve;
        });
      },
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a", ...lease });
  await until(() => job !== undefined, "the handler");
  return { hub, worker, stream, job: job as unknown as JobContext, finish: () => finish("done") };
}

const text = (state: Uint8Array | undefined) => Buffer.from(state ?? []).toString();

/** What becomes of a promise, looked at without waiting for it. */
function fate(promise: Promise<void>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: "open" };
  promise.then(
    () => {
      seen.outcome = "saved";
    },
    (error) => {
      seen.outcome = error;
    },
  );
  return seen;
}

test("a checkpoint resolves once the hub has saved it, and sequences rise from where the job was (D7)", async () => {
  const { stream, job } = await runningJob({ checkpoint: { sequence: 7n, state: new Uint8Array(1) } });
  const first = fate(job.saveCheckpoint({ line: 10 }));
  await until(() => stream.all("checkpoint").length === 1, "the checkpoint");
  expect(stream.all("checkpoint")[0]).toMatchObject({ jobId: "a", fencingToken: 1n, sequence: 8n });
  expect(text(stream.all("checkpoint")[0]?.state)).toBe('{"line":10}');
  expect(first.outcome).toBe("open");
  stream.checkpointSaved({ jobId: "a", sequence: 8n });
  await until(() => first.outcome === "saved", "the answer");
  void job.saveCheckpoint("text");
  await until(() => stream.all("checkpoint").length === 2, "the next checkpoint");
  expect(stream.all("checkpoint")[1]?.sequence).toBe(9n);
});

test("one checkpoint is on its way at a time; of those that come meanwhile the newest is sent, for all of them", async () => {
  const { stream, job } = await runningJob();
  const fates = ["one", "two", "three", "four"].map((state) => fate(job.saveCheckpoint(state)));
  await until(() => stream.all("checkpoint").length === 1, "the first");
  stream.checkpointSaved({ jobId: "a", sequence: 1n });
  await until(() => stream.all("checkpoint").length === 2, "the newest");
  expect(stream.all("checkpoint").map(({ state }) => text(state))).toEqual(["one", "four"]);
  expect(fates.map(({ outcome }) => outcome)).toEqual(["saved", "open", "open", "open"]);
  stream.checkpointSaved({ jobId: "a", sequence: 2n });
  await until(() => fates.every(({ outcome }) => outcome === "saved"), "the answer to all");
});

test("a checkpoint without an answer is sent again on the next stream, and the hello names the last one saved", async () => {
  const { hub, stream, job } = await runningJob();
  const first = fate(job.saveCheckpoint("one"));
  stream.checkpointSaved({ jobId: "a", sequence: 1n });
  await until(() => first.outcome === "saved", "the first");
  const second = fate(job.saveCheckpoint("two"));
  await until(() => stream.all("checkpoint").length === 2, "the second");
  stream.cut();
  const next = await hub.live(2);
  await until(() => next.all("checkpoint").length === 1, "the second again");
  expect(next.hello?.held).toMatchObject([{ jobId: "a", checkpointSequence: 1n }]);
  expect(next.all("checkpoint")[0]).toMatchObject({ sequence: 2n });
  next.checkpointSaved({ jobId: "a", sequence: 2n, verdict: Verdict.DUPLICATE });
  await until(() => second.outcome === "saved", "the answer");
});

test("a stale checkpoint means that the lease is gone: the save rejects, the handler stops, nothing is reported (D4)", async () => {
  const { stream, job, finish, worker } = await runningJob();
  const saves = [fate(job.saveCheckpoint("one")), fate(job.saveCheckpoint("two"))];
  stream.checkpointSaved({ jobId: "a", sequence: 1n, verdict: Verdict.STALE });
  await until(() => job.signal.aborted, "the abort");
  expect(job.signal.reason).toBeInstanceOf(LeaseLostError);
  await until(() => saves.every(({ outcome }) => outcome instanceof LeaseLostError), "both answers");
  await expect(job.saveCheckpoint("three")).rejects.toBeInstanceOf(LeaseLostError);
  finish();
  await until(() => stream.released.length === 1, "the release");
  expect(stream.released).toEqual(["a started"]);
  expect(stream.results).toEqual([]);
  expect(worker.stats()).toMatchObject({ running: 0, failed: 0 });
});

test("a refused checkpoint rejects with the hub's reason, and the job goes on", async () => {
  const { stream, job, finish } = await runningJob();
  const save = fate(job.saveCheckpoint("one"));
  stream.checkpointSaved({
    jobId: "a",
    sequence: 1n,
    verdict: Verdict.REFUSED,
    refusal: { reason: "PAYLOAD_TOO_LARGE", message: "too large" },
  });
  await until(() => save.outcome instanceof HoldfastError, "the answer");
  expect(save.outcome).toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
  finish();
  await until(() => stream.results.length === 1, "the result");
});

test("a checkpoint that the hub cannot take never reaches the stream", async () => {
  const { stream, job } = await runningJob();
  await expect(job.saveCheckpoint(new Uint8Array((1 << 20) + 1))).rejects.toThrow(RangeError);
  expect(stream.all("checkpoint")).toEqual([]);
});

test("a state that is changed after the save is saved as it was", async () => {
  const { stream, job } = await runningJob();
  void job.saveCheckpoint("first");
  const state = Buffer.from("before");
  void job.saveCheckpoint(state);
  state.fill("x");
  await until(() => stream.all("checkpoint").length === 1, "the first");
  stream.checkpointSaved({ jobId: "a", sequence: 1n });
  await until(() => stream.all("checkpoint").length === 2, "the second");
  expect(text(stream.all("checkpoint")[1]?.state)).toBe("before");
});

test("a throttle is told at once, and checked", async () => {
  const { stream, job, finish } = await runningJob();
  job.throttled({ retryAfterMs: 1_500.2 });
  job.throttled();
  await until(() => stream.all("throttle").length === 2, "both reports");
  const [named, unnamed] = stream.all("throttle");
  expect(named).toMatchObject({
    jobId: "a",
    fencingToken: 1n,
    retryAfter: { seconds: 1n, nanos: 501_000_000 },
  });
  expect(unnamed).toMatchObject({ jobId: "a", retryAfter: { seconds: 0n, nanos: 0 } });
  for (const retryAfterMs of [-1, Number.NaN, 86_400_001])
    expect(() => job.throttled({ retryAfterMs })).toThrow(RangeError);
  finish();
});

test("progress is told now and then: the newest of each job, and nothing of jobs that have ended", async () => {
  const { stream, job, finish } = await runningJob();
  for (let percent = 0; percent <= 50; percent++) job.progress(percent, `line ${percent}`);
  await until(() => stream.all("progress").length === 1, "the progress");
  expect(stream.all("progress")[0]?.progress).toMatchObject([
    { jobId: "a", fencingToken: 1n, progress: { percent: 50, message: "line 50" } },
  ]);
  expect(() => job.progress(101)).toThrow(RangeError);
  finish();
  await until(() => stream.results.length === 1, "the result");
  job.progress(99);
  await expect(job.saveCheckpoint("too late")).rejects.toBeInstanceOf(LeaseLostError);
});

test("what a handler says of its progress is made to fit: a hub would end the whole stream over it", async () => {
  const { stream, job, finish } = await runningJob();
  const told = async (count: number) => {
    await until(() => stream.all("progress").length === count, `progress ${count}`);
    return stream.all("progress")[count - 1]?.progress[0]?.progress?.message;
  };
  job.progress(1, "a\0b");
  expect(await told(1)).toBe("a\ufffdb");
  job.progress(2, "ä".repeat(600));
  expect(await told(2)).toBe("ä".repeat(512));
  // @ts-expect-error: what a handler in plain JavaScript may say
  job.progress(3, 3);
  expect(await told(3)).toBe("3");
  for (const percent of [null, "50", Symbol("half")])
    expect(() => job.progress(percent as unknown as number)).toThrow(RangeError);
  finish();
});
