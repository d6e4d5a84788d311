// Waiting for signals, against a hub that plays a script: what a handler sees of it, and what it never sees.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Wait, WaitVerdictSchema } from "@holdfast/gen/holdfast/v1/wait_pb";
import { LostReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { type Handler, JobSuspended, LeaseLostError } from "../src/index.js";
import { type HubStream, resultText, until } from "./scripted-hub.js";
import { testHub, testWorker } from "./test-worker.js";

type AnswerInit = NonNullable<MessageInitShape<typeof WaitVerdictSchema>["answer"]>;

async function working(work: Handler) {
  const hub = await testHub();
  const worker = testWorker({ address: hub.address, handlers: { work }, concurrency: 1 });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  return { hub, worker, stream };
}

async function asked(stream: HubStream, n: number): Promise<Wait> {
  await until(() => stream.all("wait").length >= n, `wait ${n}`);
  return stream.all("wait")[n - 1] as Wait;
}

function answer(stream: HubStream, { requestId, jobId, fencingToken }: Wait, init: AnswerInit): void {
  stream.send({ case: "waitVerdict", value: { requestId, jobId, fencingToken, answer: init } });
}

const signal = (sequence: bigint, text: string): AnswerInit => ({
  case: "signal",
  value: {
    partition: 0,
    page: {
      firstSequence: sequence,
      producer: "boss",
      signals: [{ producerSequence: 1n, payload: Buffer.from(text), contentType: "text/plain" }],
    },
  },
});
const suspended: AnswerInit = { case: "suspended", value: {} };

test("a signal that is there is handed to the handler, which goes on", async () => {
  const { stream } = await working(async (job) => {
    const approval = await job.waitFor("approval", { after: 4 });
    return `${approval.sequence} ${approval.producer} ${approval.text()}`;
  });
  const wait = await asked(stream, 1);
  expect(wait).toMatchObject({
    jobId: "a",
    fencingToken: 1n,
    after: 4n,
    channel: { name: "approval", owner: { case: "jobId", value: "a" } },
  });
  expect(wait.timeout).toBeUndefined();
  answer(stream, wait, signal(5n, "yes"));
  await until(() => stream.results.length === 1, "the result");
  expect(resultText(stream.results[0])).toBe("5 boss yes");
});

test("a suspended handler stays at its await, its place is free, and it is started anew from its checkpoint", async () => {
  const seen: string[] = [];
  const { stream, worker } = await working(async (job) => {
    const from = job.checkpoint === undefined ? "the start" : Buffer.from(job.checkpoint.state).toString();
    seen.push(`from ${from}`);
    job.signal.addEventListener("abort", () => seen.push((job.signal.reason as Error).name));
    try {
      await job.waitFor("approval", { checkpoint: "asked" });
      return "approved";
    } catch {
      seen.push("caught");
    } finally {
      seen.push("finally");
    }
  });
  await until(() => stream.all("checkpoint").length === 1, "the checkpoint");
  expect(stream.all("wait")).toHaveLength(0);
  stream.checkpointSaved({ jobId: "a", fencingToken: 1n, sequence: 1n });
  answer(stream, await asked(stream, 1), suspended);

  await until(() => worker.stats().running === 0, "the free place");
  stream.lease({
    jobId: "a",
    fencingToken: 3n,
    checkpoint: { sequence: 1n, state: Buffer.from("asked") },
  });
  await until(() => stream.all("checkpoint").length === 2, "the second checkpoint");
  stream.checkpointSaved({ jobId: "a", fencingToken: 3n, sequence: 2n });
  answer(stream, await asked(stream, 2), signal(1n, "yes"));
  await until(() => stream.results.length === 1, "the result");

  expect(resultText(stream.results[0])).toBe("approved");
  expect(stream.all("release")).toEqual([]);
  expect(seen).toEqual(["from the start", JobSuspended.name, "from asked", "finally"]);
});

test("the timeout of a wait may have fractions", async () => {
  const { stream } = await working(async (job) => {
    await job.waitFor("approval", { timeoutMs: 1_000.0001 });
  });
  expect((await asked(stream, 1)).timeout).toMatchObject({ seconds: 1n, nanos: 1_000_000 });
});

test("a wait that is over resolves with undefined", async () => {
  const { stream } = await working(async (job) => {
    const approval = await job.waitFor("approval", { timeoutMs: 60_000 });
    return approval === undefined ? "nobody answered" : "answered";
  });
  const wait = await asked(stream, 1);
  expect(wait.timeout).toMatchObject({ seconds: 60n });
  answer(stream, wait, { case: "timedOut", value: {} });
  await until(() => stream.results.length === 1, "the result");
  expect(resultText(stream.results[0])).toBe("nobody answered");
});

test("a wait is sent again on the next stream, and one whose verdict was lost suspends the job all the same", async () => {
  const seen: string[] = [];
  const { hub, stream, worker } = await working(async (job) => {
    job.signal.addEventListener("abort", () => seen.push((job.signal.reason as Error).name));
    await job.waitFor("approval").catch(() => seen.push("caught"));
  });
  const first = await asked(stream, 1);
  stream.cut();
  const second = await hub.live(2);
  expect(await asked(second, 1)).toEqual(first);
  hub.script.welcome = (hello) => ({
    sessionId: hello.sessionId,
    resumed: true,
    held: hello.held.map(({ jobId, fencingToken }) => ({
      jobId,
      fencingToken,
      kept: false,
      lostReason: LostReason.REPORTED,
    })),
  });
  second.cut();
  const third = await hub.live(3);
  await until(() => worker.stats().running === 0, "the free place");
  expect(seen).toEqual([JobSuspended.name]);
  expect(third.all("release")).toEqual([]);
});

test("a wait under a lease that is gone stops the handler", async () => {
  let reason: unknown;
  const { stream } = await working(async (job) => {
    await job.waitFor("approval").catch((error: unknown) => {
      reason = error;
    });
  });
  const refusal = { reason: "STALE_FENCE", message: "not yours", metadata: {} };
  answer(stream, await asked(stream, 1), { case: "refused", value: refusal });
  await until(() => reason !== undefined, "the reason");
  expect(reason).toBeInstanceOf(LeaseLostError);
  expect(stream.results).toEqual([]);
});

test("nothing is asked for a wait that cannot be: in an effect, beside another, out of bounds", async () => {
  const refused: string[] = [];
  const note = (error: Error) => void refused.push(error.message);
  const { stream } = await working(async (job) => {
    await job.waitFor("approval", { after: -1 }).catch(note);
    await job.waitFor("approval", { timeoutMs: 0 }).catch(note);
    const waiting = job.waitFor("approval");
    await job.waitFor("approval").catch(note);
    const effect = job.effect("mail", () => {});
    await job.waitFor("approval").catch(note);
    effect.catch(() => {});
    await waiting;
    return "done";
  });
  const wait = await asked(stream, 1);
  await until(() => refused.length === 4, "what was refused");
  expect(refused).toEqual([
    expect.stringContaining("after must be"),
    expect.stringContaining("timeoutMs must be"),
    expect.stringContaining("one wait at a time"),
    expect.stringContaining("an effect is under way"),
  ]);
  expect(stream.all("wait")).toEqual([wait]);
});
