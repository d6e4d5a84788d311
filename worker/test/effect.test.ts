import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { EffectAct, EffectVerdictSchema } from "@holdfast/gen/holdfast/v1/effect_pb";
import { LostReason, RevokeReason } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { EffectLostError, type Handler, LeaseLostError } from "../src/index.js";
import { type HubStream, resultText, until } from "./scripted-hub.js";
import { gate, testHub, testWorker } from "./test-worker.js";

type AnswerInit = NonNullable<MessageInitShape<typeof EffectVerdictSchema>["answer"]>;

/** A worker with one job whose handler is the test's. */
async function working(work: Handler) {
  const hub = await testHub();
  const worker = testWorker({ address: hub.address, handlers: { work }, drainTimeoutMs: 10 });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  return { hub, worker, stream };
}

/** The n-th act (from 1) that the worker sent on this stream, once it is there. */
async function act(stream: HubStream, n: number): Promise<EffectAct> {
  await until(() => stream.all("effect").length >= n, `act ${n}`);
  return stream.all("effect")[n - 1] as EffectAct;
}

function answer(
  stream: HubStream,
  { requestId, jobId, fencingToken, key }: EffectAct,
  init: AnswerInit,
): void {
  stream.send({ case: "effectVerdict", value: { requestId, jobId, fencingToken, key, answer: init } });
}

const acquired = (effectToken = 1n, timeLeftMs = 30_000, takenOver = false): AnswerInit => ({
  case: "acquired",
  value: { effectToken, timeLeft: durationFromMs(timeLeftMs), takenOver },
});
const written: AnswerInit = { case: "written", value: { existing: false } };
const held = (timeLeftMs: number): AnswerInit => ({
  case: "held",
  value: { timeLeft: durationFromMs(timeLeftMs) },
});
const completed = (result: string, contentType: string): AnswerInit => ({
  case: "completed",
  value: { result: Buffer.from(result), contentType },
});
const stale = (token: string): AnswerInit => ({
  case: "refused",
  value: { reason: "STALE_FENCE", message: "not yours", metadata: { token } },
});

async function result(stream: HubStream) {
  await until(() => stream.results.length === 1, "the result");
  return stream.results[0];
}

test("an effect is claimed, done, and completed with what came of it, which the handler gets as it was stored (D16)", async () => {
  let seen: unknown;
  const { stream } = await working((job) =>
    job.effect("mail", (effect) => {
      seen = { ...effect, signal: effect.signal.aborted };
      return { sent: new Date(0) };
    }),
  );

  const claim = await act(stream, 1);
  expect(claim).toMatchObject({ jobId: "a", fencingToken: 1n, key: "mail" });
  expect(claim.act).toMatchObject({ case: "claim", value: { ttl: { seconds: 30n } } });
  answer(stream, claim, acquired(7n));
  const complete = await act(stream, 2);
  expect(complete.act).toMatchObject({
    case: "complete",
    value: { effectToken: 7n, contentType: "application/json" },
  });
  expect(stream.results).toEqual([]);
  answer(stream, complete, written);

  expect(resultText(await result(stream))).toBe('{"sent":"1970-01-01T00:00:00.000Z"}');
  expect(seen).toEqual({
    key: "mail",
    idempotencyKey: "a/mail",
    effectToken: 7n,
    isTakenOver: false,
    signal: false,
  });
});

test.each([
  ["nothing", "", "", undefined],
  ["text", "hello", "text/plain; charset=utf-8", "hello"],
  ["JSON", "[1,null]", "application/json", [1, null]],
  ["bytes", "raw", "application/octet-stream", new Uint8Array(Buffer.from("raw"))],
])(
  "an effect that was completed before is not done again: its %s comes back (D16)",
  async (_, bytes, type, value) => {
    let runs = 0;
    let got: unknown = "nothing yet";
    const { stream } = await working(async (job) => {
      got = await job.effect("mail", () => {
        runs++;
      });
    });
    answer(stream, await act(stream, 1), completed(bytes, type));
    await result(stream);
    expect(runs).toBe(0);
    expect(got instanceof Uint8Array ? new Uint8Array(got) : got).toEqual(value);
  },
);

test("while another holds the effect the worker asks again, and takes it over once it may (D17)", async () => {
  let isTakenOver = false;
  const { stream } = await working((job) =>
    job.effect("mail", (effect) => {
      isTakenOver = effect.isTakenOver;
      return "sent";
    }),
  );
  const first = await act(stream, 1);
  answer(stream, first, held(5));
  const second = await act(stream, 2);
  expect(second.requestId).not.toBe(first.requestId);
  answer(stream, second, held(0));
  answer(stream, await act(stream, 3), acquired(2n, 30_000, true));
  answer(stream, await act(stream, 4), written);
  expect(resultText(await result(stream))).toBe("sent");
  expect(isTakenOver).toBe(true);
});

test("an effect that throws is given back before the attempt fails", async () => {
  const { stream } = await working((job) => job.effect("mail", () => Promise.reject(new Error("no stamps"))));
  answer(stream, await act(stream, 1), acquired(3n));
  const release = await act(stream, 2);
  expect(release.act).toMatchObject({ case: "release", value: { effectToken: 3n } });
  expect(stream.results).toEqual([]);
  answer(stream, release, written);
  expect((await result(stream))?.outcome?.outcome).toMatchObject({
    case: "failure",
    value: { message: "Error: no stamps", permanent: false },
  });
});

test.each([
  ["too large", "x".repeat(70_000)],
  ["no JSON", 1n as unknown as number],
])(
  "an effect whose value is %s was done: it is given up for that reason, and the job fails for good",
  async (_, value) => {
    const { stream } = await working((job) => job.effect("mail", () => value));
    answer(stream, await act(stream, 1), acquired());
    const abandon = await act(stream, 2);
    expect(abandon.act.case).toBe("abandon");
    answer(stream, abandon, written);
    expect((await result(stream))?.outcome?.outcome).toMatchObject({
      case: "failure",
      value: { code: "EFFECT_NOT_STORED", permanent: true },
    });
  },
);

test("the lease of an effect is renewed while its function runs", async () => {
  const { open, opened } = gate();
  const { stream } = await working((job) => job.effect("mail", () => opened, { ttlMs: 3_000 }));
  answer(stream, await act(stream, 1), acquired());
  for (const n of [2, 3]) {
    const renewal = await act(stream, n);
    expect(renewal.act).toMatchObject({ case: "renew", value: { effectToken: 1n, ttl: { seconds: 3n } } });
    answer(stream, renewal, { case: "renewed", value: { timeLeft: durationFromMs(30_000) } });
  }
  open("sent");
  await until(() => stream.all("effect").some(({ act }) => act.case === "complete"), "the completion");
  const complete = stream.all("effect").find(({ act }) => act.case === "complete") as EffectAct;
  answer(stream, complete, written);
  expect(resultText(await result(stream))).toBe("sent");
});

test.each([
  ["is refused", true],
  ["is not answered in time", false],
])(
  "a function whose effect's renewal %s is told to stop: another may be doing it (D17)",
  async (_, isRefused) => {
    let reason: unknown;
    const { stream } = await working((job) =>
      job.effect(
        "mail",
        ({ signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener("abort", () => {
              reason = signal.reason;
              reject(signal.reason);
            });
          }),
        { ttlMs: 300 },
      ),
    );
    answer(stream, await act(stream, 1), acquired(1n, 300));
    const renewal = await act(stream, 2);
    if (isRefused) answer(stream, renewal, stale("effect_token"));
    await until(() => reason !== undefined, "the abort");
    expect(reason).toBeInstanceOf(EffectLostError);
  },
);

test("a function that was told to stop half-way may have done it: the effect is not given back, and runs out (D17)", async () => {
  const { stream } = await working((job) =>
    job.effect("mail", ({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", reject))),
  );
  answer(stream, await act(stream, 1), acquired());
  stream.revoke({ jobId: "a", reason: RevokeReason.CANCELLED, grace: durationFromMs(20_000) });
  expect((await result(stream))?.outcome?.outcome.case).toBe("cancelled");
  expect(stream.all("effect")).toHaveLength(1);
});

test("acts without an answer are sent again on the next stream, under their request ids", async () => {
  const { hub, stream } = await working((job) => job.effect("mail", () => "sent"));
  const claim = await act(stream, 1);
  stream.cut();
  const second = await hub.live(2);
  const again = await act(second, 1);
  expect(again.requestId).toBe(claim.requestId);
  answer(second, again, acquired());
  const complete = await act(second, 2);
  second.cut();
  const third = await hub.live(3);
  expect((await act(third, 1)).requestId).toBe(complete.requestId);
  answer(third, await act(third, 1), written);
  expect(resultText(await result(third))).toBe("sent");
});

test("an effect of a job that was taken away rejects, and its function is told to stop (D4)", async () => {
  let outcome: unknown;
  let isStopped = false;
  const { hub, stream } = await working(async (job) => {
    const effect = job.effect("mail", async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      isStopped = true;
      return "sent";
    });
    await effect.catch((error) => {
      outcome = error;
    });
  });
  answer(stream, await act(stream, 1), acquired());
  hub.script.welcome = (hello) => ({
    sessionId: hello.sessionId,
    resumed: true,
    held: hello.held.map(({ jobId, fencingToken }) => ({
      jobId,
      fencingToken,
      kept: false,
      lostReason: LostReason.STALE_FENCE,
    })),
  });
  stream.cut();
  await until(() => outcome !== undefined, "the end of the effect");
  expect(isStopped).toBe(true);
  expect(outcome).toBeInstanceOf(LeaseLostError);
});

test("a verdict that the job's lease is gone stops the handler, like a stale checkpoint (D4)", async () => {
  let reason: unknown;
  const { stream } = await working(async (job) => {
    await job.effect("mail", () => "sent").catch(() => {});
    reason = job.signal.reason;
  });
  answer(stream, await act(stream, 1), stale("fencing_token"));
  await until(() => reason !== undefined, "the end of the handler");
  expect(reason).toBeInstanceOf(LeaseLostError);
  await until(() => stream.released.length === 1, "the release");
});

test("a key that no hub takes is refused here: a hub would end the whole stream over it", async () => {
  const refused: unknown[] = [];
  const { stream } = await working(async (job) => {
    for (const key of ["", "a\0b", "\ud800", "k".repeat(257), 5 as unknown as string])
      await job.effect(key, () => "done").catch((error) => refused.push(error));
  });
  await result(stream);
  expect(refused).toEqual(Array.from({ length: 5 }, () => expect.any(RangeError)));
  expect(stream.all("effect")).toEqual([]);
});

test("times of an effect may have fractions", async () => {
  const { stream } = await working(
    async (job) => await job.effect("mail", () => "sent", { ttlMs: 1_000.0001 }),
  );
  const claim = await act(stream, 1);
  expect(claim.act).toMatchObject({ case: "claim", value: { ttl: { seconds: 1n } } });
  answer(stream, claim, acquired());
  answer(stream, await act(stream, 2), written);
  expect(resultText(await result(stream))).toBe("sent");
});

test("two calls with one key are one effect", async () => {
  let runs = 0;
  const { stream } = await working(async (job) => {
    const once = () => job.effect("mail", () => ++runs);
    const [one, two] = await Promise.all([once(), once()]);
    return [one, two, await once()];
  });
  answer(stream, await act(stream, 1), acquired());
  answer(stream, await act(stream, 2), written);
  expect(resultText(await result(stream))).toBe("[1,1,1]");
  expect(stream.all("effect")).toHaveLength(2);
});

test("a handler that does not wait for its effects has not ended before they have", async () => {
  const { stream } = await working((job) => {
    void job.effect("mail", () => "sent");
    return "returned";
  });
  answer(stream, await act(stream, 1), acquired());
  const complete = await act(stream, 2);
  expect(stream.results).toEqual([]);
  answer(stream, complete, written);
  expect(resultText(await result(stream))).toBe("returned");
});

test("a handler that does not wait for its effects fails with the one that does", async () => {
  const { stream } = await working((job) => {
    void job.effect("mail", () => Promise.reject(new Error("no stamps")));
    return "returned";
  });
  answer(stream, await act(stream, 1), acquired());
  answer(stream, await act(stream, 2), written);
  expect((await result(stream))?.outcome?.outcome.case).toBe("failure");
});

test.each([
  ["an empty key", "", 30_000],
  ["a key of more than 256 bytes", "ü".repeat(129), 30_000],
  ["a lease that is too short", "mail", 99],
  ["a lease that is too long", "mail", 86_400_001],
  ["a lease of no length", "mail", Number.NaN],
])("%s is refused before anything is sent", async (_, key, ttlMs) => {
  let refused: unknown;
  const { stream } = await working(async (job) => {
    refused = await job.effect(key, () => "sent", { ttlMs }).catch((error) => error);
  });
  await result(stream);
  expect(refused).toBeInstanceOf(RangeError);
  expect(stream.all("effect")).toEqual([]);
});
