import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AttachRequestSchema, WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { describe, expect, test } from "vitest";
import {
  absent,
  bad,
  idle,
  KiB,
  long,
  many,
  noUuid,
  testRefusals,
  useWitnessedHub,
} from "../harness/bad-calls.js";
import { duration, submitOne } from "../harness/raw-jobs.js";
import type { UpMessage } from "../harness/raw-stream.js";
import { attachWorker } from "../harness/raw-worker.js";

const house = useWitnessedHub();
const { claim, renew, report } = WorkerService.method;

describe("a worker's call that is refused says why, with ErrorInfo, on both ports", () => {
  testRefusals(house, [
    bad("no request id", claim, { worker: idle, maxJobs: 1 }, "request_id"),
    bad(
      "a request id that is too long",
      claim,
      { worker: idle, maxJobs: 1, requestId: long(129) },
      "request_id",
    ),
    bad("neither session nor worker", claim, { requestId: "r", maxJobs: 1 }, "worker"),
    bad("no jobs wanted", claim, { requestId: "r", worker: idle }, "max_jobs"),
    bad("too many jobs wanted", claim, { requestId: "r", worker: idle, maxJobs: 1_001 }, "max_jobs"),
    bad(
      "too many bytes wanted",
      claim,
      { requestId: "r", worker: idle, maxJobs: 1, maxBytes: 2n ** 40n },
      "max_bytes",
    ),
    bad(
      "negative bytes wanted",
      claim,
      { requestId: "r", worker: idle, maxJobs: 1, maxBytes: -1n },
      "max_bytes",
    ),
    bad(
      "a wait that is too long",
      claim,
      { requestId: "r", worker: idle, maxJobs: 1, wait: duration(60_001) },
      "wait",
    ),
    bad(
      "a worker without kinds",
      claim,
      { requestId: "r", worker: { ...idle, kinds: [] }, maxJobs: 1 },
      "worker.kinds",
    ),
    bad(
      "a worker without a name",
      claim,
      { requestId: "r", worker: { ...idle, workerName: "" }, maxJobs: 1 },
      "worker.worker_name",
    ),
    bad(
      "a worker of another version",
      claim,
      { requestId: "r", worker: { ...idle, protocolVersion: 2 }, maxJobs: 1 },
      /^$/,
      [9, "UNSUPPORTED_VERSION"],
    ),
    bad("a session that is none", claim, { requestId: "r", sessionId: noUuid, maxJobs: 1 }, "session_id"),
    bad("an absent session", claim, { requestId: "r", sessionId: absent, maxJobs: 1 }, /^$/, [
      10,
      "SESSION_EXPIRED",
    ]),
    bad("a session that is none", renew, { sessionId: noUuid }, "session_id"),
    bad("an absent session", renew, { sessionId: absent }, /^$/, [10, "SESSION_EXPIRED"]),
    bad(
      "a negative acknowledgement",
      renew,
      { sessionId: absent, deliveredThrough: -1n },
      "delivered_through",
    ),
    bad("an absent session", report, { sessionId: absent }, /^$/, [10, "SESSION_EXPIRED"]),
    bad(
      "a result without an outcome",
      report,
      { sessionId: absent, results: [{ jobId: absent, fencingToken: 1n }] },
      "results[0].outcome",
    ),
    bad(
      "a result for no job",
      report,
      { sessionId: absent, results: [{ fencingToken: 1n, outcome: {} }] },
      "results[0].job_id",
    ),
    bad(
      "a result with a negative token",
      report,
      { sessionId: absent, results: [{ jobId: absent, fencingToken: -1n }] },
      "results[0].fencing_token",
    ),
    bad(
      "too many results",
      report,
      { sessionId: absent, results: many(1_001, () => ({ jobId: absent })) },
      "results",
    ),
    bad(
      "too many checkpoints",
      report,
      { sessionId: absent, checkpoints: many(101, () => ({ jobId: absent })) },
      "checkpoints",
    ),
    bad(
      "too many releases",
      report,
      { sessionId: absent, releases: many(1_001, () => ({ jobId: absent })) },
      "releases",
    ),
    bad(
      "a release of no job",
      report,
      { sessionId: absent, releases: [{ jobId: "" }] },
      "releases[0].job_id",
    ),
  ]);
});

describe("Attach", () => {
  const hello = { case: "hello", value: idle } as const;
  const notNow = [
    ["credit", { case: "credit", value: { jobs: 1, bytes: 1n } }],
    ["a heartbeat", { case: "heartbeat", value: { nonce: 1n } }],
    ["a report", { case: "report", value: { results: [] } }],
    ["a drain", { case: "drain", value: {} }],
  ] as const;
  for (const [title, message] of notNow)
    test(`${title} before the hello ends the stream`, async () => {
      await house.changesNothing(async () => {
        const stream = house.client().attach();
        stream.send(message as UpMessage);
        expect(await stream.ended).toMatchObject({
          code: 3,
          reason: "INVALID_FIELD",
          metadata: { field: "message" },
        });
      });
    });

  test("a stream without any message ends as one without a hello", async () => {
    const stream = house.client().attach();
    stream.halfClose();
    expect(await stream.ended).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
      metadata: { field: "message" },
    });
  });

  for (const [title, change, field] of [
    ["no name", { workerName: "" }, "hello.worker_name"],
    ["no kinds", { kinds: [] }, "hello.kinds"],
    ["too many kinds", { kinds: many(257, (at) => `k${at}`) }, "hello.kinds"],
    ["a bad kind", { kinds: ["good", "BAD"] }, "hello.kinds[1]"],
    ["too many capabilities", { capabilities: many(65, (at) => `c${at}`) }, "hello.capabilities"],
    ["a weight that is no number", { weights: { age: Number.NaN } }, "hello.weights.age"],
    ["a weight that is too large", { weights: { priority: 1_001 } }, "hello.weights.priority"],
    ["too many products", { products: many(65, (at) => `p${at}`) }, "hello.products"],
    ["a bad queue", { queues: [""] }, "hello.queues[0]"],
    ["a bad session", { sessionId: noUuid }, "hello.session_id"],
    ["a bad lease", { sessionId: absent, held: [{ jobId: noUuid }] }, "hello.held[0].job_id"],
  ] as const)
    test(`a hello with ${title} is refused`, async () => {
      await house.changesNothing(async () => {
        const stream = house.client().attach();
        stream.send({ case: "hello", value: { ...idle, ...change } as never });
        expect(await stream.ended).toMatchObject({
          code: 3,
          reason: "INVALID_FIELD",
          domain: "holdfast",
          metadata: { field },
        });
      });
    });

  test("a worker of another version is told both versions", async () => {
    const stream = house.client().attach();
    stream.send({ case: "hello", value: { ...idle, protocolVersion: 9 } });
    expect(await stream.ended).toMatchObject({
      code: 9,
      reason: "UNSUPPORTED_VERSION",
      metadata: { worker_version: "9", hub_version: "1" },
    });
  });

  const unknownField = Uint8Array.of(0x92, 0x06, 1, 0);
  const afterHello = [
    [
      "a second hello",
      () => toBinary(AttachRequestSchema, create(AttachRequestSchema, { message: hello })),
      "message",
    ],
    ["an empty message", () => new Uint8Array(), "message"],
    ["a message of an unknown kind", () => unknownField, "message"],
    ["truncated bytes", () => Uint8Array.of(0x1a, 100, 1), "(message)"],
    ["negative credit", () => up({ case: "credit", value: { jobs: -1 } }), "credit.jobs"],
    ["negative bytes of credit", () => up({ case: "credit", value: { bytes: -1n } }), "credit.bytes"],
    [
      "a report for no job",
      () => up({ case: "report", value: { results: [{ jobId: noUuid }] } }),
      "report.results[0].job_id",
    ],
    [
      "a report without an outcome",
      () => up({ case: "report", value: { results: [{ jobId: absent }] } }),
      "report.results[0].outcome",
    ],
    ["an empty report", () => up({ case: "report", value: {} }), "report.results"],
    [
      "too long a report",
      () => up({ case: "report", value: { results: many(1_001, () => ({ jobId: absent })) } }),
      "report.results",
    ],
    ["an empty release", () => up({ case: "release", value: {} }), "release.leases"],
    [
      "a release of no job",
      () => up({ case: "release", value: { leases: [{ jobId: "" }] } }),
      "release.leases[0].job_id",
    ],
    ["a checkpoint of no job", () => up({ case: "checkpoint", value: {} }), "checkpoint.job_id"],
    [
      "too much progress",
      () => up({ case: "progress", value: { progress: [{ jobId: absent, progress: { percent: 101 } }] } }),
      "progress.progress[0].progress.percent",
    ],
    [
      "progress that is no number",
      () =>
        up({ case: "progress", value: { progress: [{ jobId: absent, progress: { percent: Number.NaN } }] } }),
      "progress.progress[0].progress.percent",
    ],
    [
      "a negative acknowledgement",
      () => toBinary(AttachRequestSchema, create(AttachRequestSchema, { deliveredThrough: -1n })),
      "delivered_through",
    ],
  ] as const;
  for (const [title, bytes, field] of afterHello)
    test(`${title} ends the stream`, async () => {
      const stream = house.client().attach();
      stream.send(hello);
      await stream.next("welcome");
      await house.changesNothing(async () => {
        stream.sendBytes(bytes());
        expect(await stream.ended).toMatchObject({
          code: 3,
          reason: "INVALID_FIELD",
          domain: "holdfast",
          metadata: { field },
        });
      });
    });

  test("acknowledging what was never sent is ACK_BEYOND_SENT", async () => {
    const stream = house.client().attach();
    stream.send(hello);
    await stream.next("welcome");
    stream.send({ case: "heartbeat", value: { nonce: 1n } }, 1n);
    expect(await stream.ended).toMatchObject({
      code: 11,
      reason: "ACK_BEYOND_SENT",
      domain: "holdfast",
      metadata: { delivered_through: "1", last_delivery: "0" },
    });
  });

  test("a result or a checkpoint that is not acceptable is refused by itself; the lease stands and the neighbours count", async () => {
    const client = house.client();
    const own = await attachWorker(client, { kinds: ["kept"] });
    own.credit(2, 1 << 20);
    await submitOne(client, { kind: "kept" });
    await submitOne(client, { kind: "kept" });
    const [one, two] = [await own.lease(), await own.lease()];
    const bad = { case: "success", value: { result: Buffer.alloc(4 * KiB + 1) } } as const;
    expect(await own.report(one, bad)).toMatchObject({
      verdict: 4,
      refusal: { reason: "PAYLOAD_TOO_LARGE", metadata: { limit: "resultBytesMax", value: String(4 * KiB) } },
    });
    const nul = { case: "failure", value: { code: "X", message: "\0" } } as const;
    expect(await own.report(one, nul)).toMatchObject({ verdict: 4, refusal: { reason: "INVALID_FIELD" } });
    const code = { case: "failure", value: { code: "lower case" } } as const;
    expect(await own.report(one, code)).toMatchObject({ verdict: 4, refusal: { reason: "INVALID_FIELD" } });
    const { jobId, fencingToken } = one;
    for (const [sequence, state] of [
      [0n, Buffer.alloc(1)],
      [1n, Buffer.alloc(4 * KiB + 1)],
    ] as const) {
      own.stream.send(
        { case: "checkpoint", value: { jobId, fencingToken, sequence, state } },
        own.delivered(),
      );
      expect(await own.stream.next("checkpointSaved")).toMatchObject({ verdict: 4 });
    }
    expect((await own.succeed(one)).verdict).toBe(1);
    expect((await own.succeed(two)).verdict).toBe(1);
  });
});

function up(message: MessageInitShape<typeof AttachRequestSchema>["message"]): Uint8Array {
  return toBinary(AttachRequestSchema, create(AttachRequestSchema, message ? { message } : {}));
}
