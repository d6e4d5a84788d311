// Whatever is sent, by whom and where: the call ends with a clear status, nothing is written, and a session beside it
// does not notice.
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import type { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { AttachRequestSchema, WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { beforeAll, describe, expect, test } from "vitest";
import { callHttp } from "../harness/raw-http.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, type JobInit, submitOne } from "../harness/raw-jobs.js";
import type { UpMessage } from "../harness/raw-stream.js";
import { attachWorker, greeting, type RawWorker } from "../harness/raw-worker.js";

const KiB = 1 << 10;
const house = useHub({
  payloadBytesMax: 4 * KiB,
  resultBytesMax: 4 * KiB,
  checkpointBytesMax: 4 * KiB,
  batchJobsMax: 5,
});
let neighbour: RawWorker;
let hasNeighbourLeft = false;

beforeAll(async () => {
  neighbour = await attachWorker(house.client(), { kinds: ["neighbour"] });
  neighbour.credit(100, 1 << 20);
  void neighbour.stream.ended.then(() => {
    hasNeighbourLeft = true;
  });
});

/** What the ledger holds, table by table. A session's renewal is not a change. */
async function written(): Promise<unknown> {
  const tables = [
    "job",
    "event_page",
    "idempotency",
    "checkpoint",
    "timer",
    "lane",
    "api_key",
    "tenant",
    "session",
  ];
  const counts = tables.map((table) => `(select count(*)::integer from ${table}) as ${table}`);
  return (await house.query(`select ${counts.join(", ")}`))[0];
}

async function changesNothing<Answer>(act: () => Promise<Answer>): Promise<Answer> {
  const before = await written();
  const answer = await act();
  expect(await written()).toEqual(before);
  expect(hasNeighbourLeft).toBe(false);
  return answer;
}

const noUuid = "not-a-uuid";
const absent = "01980000-0000-7000-8000-000000000000";
const long = (count: number) => "x".repeat(count);
const job = (init: Record<string, unknown>) => ({ job: { kind: "work", ...init } as JobInit });
const many = <Item>(count: number, item: (at: number) => Item) =>
  Array.from({ length: count }, (_, at) => item(at));
const worker = { ...greeting, kinds: ["nothing"] };
const { submit, submitBatch, get, list, cancel, retry, watch } = JobService.method;
const { claim, renew, report } = WorkerService.method;
const { createKey, listKeys, revokeKey } = AccessService.method;

const forged = (position: unknown, listed: unknown) =>
  Buffer.from(JSON.stringify([position, JSON.stringify(listed)])).toString("base64url");

interface BadCall {
  readonly title: string;
  readonly method: DescMethodUnary;
  readonly request: MessageInitShape<DescMessage>;
  readonly field: string | RegExp;
  readonly code: number;
  readonly reason: string;
}

function bad<I extends DescMessage, O extends DescMessage>(
  title: string,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  field: string | RegExp,
  [code, reason]: readonly [number, string] = [3, "INVALID_FIELD"],
): BadCall {
  return {
    title,
    method: method as unknown as DescMethodUnary,
    request: request as BadCall["request"],
    field,
    code,
    reason,
  };
}

const tooLarge = [3, "PAYLOAD_TOO_LARGE"] as const;
const noJob = [5, "JOB_NOT_FOUND"] as const;

const badCalls: readonly BadCall[] = [
  bad("no job", submit, {}, "job"),
  bad("no kind", submit, job({ kind: "" }), "job.kind"),
  bad("a kind in capitals", submit, job({ kind: "Work" }), "job.kind"),
  bad("a kind that is too long", submit, job({ kind: long(129) }), "job.kind"),
  bad("a product with a slash", submit, job({ product: "a/b" }), "job.product"),
  bad("a queue with a NUL", submit, job({ queue: "a\0b" }), "job.queue"),
  bad("an unknown priority", submit, job({ priority: 99 }), "job.priority"),
  bad("a negative priority", submit, job({ priority: -1 }), "job.priority"),
  bad("an unknown disconnect policy", submit, job({ disconnectPolicy: 7 }), "job.disconnect_policy"),
  bad("an oversized payload", submit, job({ payload: Buffer.alloc(4 * KiB + 1) }), "job.payload", tooLarge),
  bad("a content type that is too long", submit, job({ contentType: long(129) }), "job.content_type"),
  bad("a content type with a NUL", submit, job({ contentType: "a\0" }), "job.content_type"),
  bad("too many capabilities", submit, job({ capabilities: many(17, (at) => `c${at}`) }), "job.capabilities"),
  bad("a bad capability", submit, job({ capabilities: ["ok", "not ok"] }), "job.capabilities[1]"),
  bad(
    "too many labels",
    submit,
    job({ labels: Object.fromEntries(many(101, (at) => [`k${at}`, ""])) }),
    "job.labels",
  ),
  bad("a label without a key", submit, job({ labels: { "": "v" } }), "job.labels key"),
  bad("a label key that is too long", submit, job({ labels: { [long(129)]: "v" } }), "job.labels key"),
  bad("a label that is too long", submit, job({ labels: { k: long(1_025) } }), "job.labels[k]"),
  bad("a label with a NUL", submit, job({ labels: { k: "\0" } }), "job.labels[k]"),
  bad(
    "an idempotency key that is too long",
    submit,
    job({ idempotencyKey: long(257) }),
    "job.idempotency_key",
  ),
  bad("a time before 2000", submit, job({ runAt: { seconds: 0n } }), "job.run_at"),
  bad("a time after 9999", submit, job({ deadline: { seconds: 2n ** 60n } }), "job.deadline"),
  bad(
    "a time with too many nanoseconds",
    submit,
    job({ runAt: { seconds: 2_000_000_000n, nanos: 2e9 } }),
    "job.run_at",
  ),
  bad("no attempts", submit, job({ retry: { maxAttempts: -1 } }), "job.retry.max_attempts"),
  bad("too many attempts", submit, job({ retry: { maxAttempts: 1_001 } }), "job.retry.max_attempts"),
  bad("a shrinking backoff", submit, job({ retry: { factor: 0.5 } }), "job.retry.factor"),
  bad("a factor that is no number", submit, job({ retry: { factor: Number.NaN } }), "job.retry.factor"),
  bad(
    "a negative backoff",
    submit,
    job({ retry: { initialBackoff: { seconds: -1n } } }),
    "job.retry.initial_backoff",
  ),
  bad(
    "a backoff that is too long",
    submit,
    job({ retry: { maxBackoff: { seconds: 10n ** 9n } } }),
    "job.retry.max_backoff",
  ),
  bad("a limit beyond a day", submit, job({ disconnectLimit: duration(86_400_001) }), "job.disconnect_limit"),
  bad(
    "a traceparent that is too long",
    submit,
    job({ traceContext: { traceparent: long(129) } }),
    "job.trace_context.traceparent",
  ),
  bad("an empty batch", submitBatch, { jobs: [] }, "jobs"),
  bad("a batch that is too long", submitBatch, { jobs: many(6, () => ({ kind: "work" })) }, "jobs"),
  bad("an id that is none", get, { jobId: noUuid }, "job_id"),
  bad("an id in capitals", get, { jobId: absent.toUpperCase().replace("0198", "ABCD") }, "job_id"),
  bad("no id", get, {}, "job_id"),
  bad("an absent job", get, { jobId: absent }, /^$/, noJob),
  bad("a page that is too long", list, { pageSize: 501 }, "page_size"),
  bad("a negative page", list, { pageSize: -1 }, "page_size"),
  bad("a page token that is none", list, { pageToken: "???" }, "page_token"),
  bad("a page token of another list", list, { pageToken: forged(absent, ["keys", 1]) }, "page_token"),
  bad(
    "a page token that is JSON, but no token",
    list,
    { pageToken: Buffer.from("5").toString("base64url") },
    "page_token",
  ),
  bad("an unknown state", list, { states: [42 as JobState] }, "states[0]"),
  bad("the unspecified state", list, { states: [0] }, "states[0]"),
  bad("too many states", list, { states: many(17, () => 3) }, "states"),
  bad("a bad kind filter", list, { kind: "A B" }, "kind"),
  bad("a label filter with a NUL", list, { labels: { a: "\0" } }, "labels[a]"),
  bad("a bad time filter", list, { submittedAfter: { seconds: -5n } }, "submitted_after"),
  bad("an id that is none", cancel, { jobId: noUuid }, "job_id"),
  bad("an absent job", cancel, { jobId: absent }, /^$/, noJob),
  bad("a reason that is too long", cancel, { jobId: absent, reason: long(1_025) }, "reason"),
  bad("a negative grace", cancel, { jobId: absent, grace: { seconds: -1n } }, "grace"),
  bad("a grace beyond a day", cancel, { jobId: absent, grace: duration(86_400_001) }, "grace"),
  bad("an id that is none", retry, { jobId: noUuid }, "job_id"),
  bad("an absent job", retry, { jobId: absent }, /^$/, noJob),
  bad("a reason with a NUL", retry, { jobId: absent, reason: "\0" }, "reason"),
  bad("no request id", claim, { worker, maxJobs: 1 }, "request_id"),
  bad("a request id that is too long", claim, { worker, maxJobs: 1, requestId: long(129) }, "request_id"),
  bad("neither session nor worker", claim, { requestId: "r", maxJobs: 1 }, "worker"),
  bad("no jobs wanted", claim, { requestId: "r", worker }, "max_jobs"),
  bad("too many jobs wanted", claim, { requestId: "r", worker, maxJobs: 1_001 }, "max_jobs"),
  bad(
    "too many bytes wanted",
    claim,
    { requestId: "r", worker, maxJobs: 1, maxBytes: 2n ** 40n },
    "max_bytes",
  ),
  bad("negative bytes wanted", claim, { requestId: "r", worker, maxJobs: 1, maxBytes: -1n }, "max_bytes"),
  bad(
    "a wait that is too long",
    claim,
    { requestId: "r", worker, maxJobs: 1, wait: duration(60_001) },
    "wait",
  ),
  bad(
    "a worker without kinds",
    claim,
    { requestId: "r", worker: { ...worker, kinds: [] }, maxJobs: 1 },
    "worker.kinds",
  ),
  bad(
    "a worker without a name",
    claim,
    { requestId: "r", worker: { ...worker, workerName: "" }, maxJobs: 1 },
    "worker.worker_name",
  ),
  bad(
    "a worker of another version",
    claim,
    { requestId: "r", worker: { ...worker, protocolVersion: 2 }, maxJobs: 1 },
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
  bad("a negative acknowledgement", renew, { sessionId: absent, deliveredThrough: -1n }, "delivered_through"),
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
  bad("a release of no job", report, { sessionId: absent, releases: [{ jobId: "" }] }, "releases[0].job_id"),
  bad("a page that is too long", FleetService.method.listSessions, { pageSize: 501 }, "page_size"),
  bad(
    "a forged page token",
    FleetService.method.listSessions,
    { pageToken: forged("x", ["sessions", 1]) },
    "page_token",
  ),
  bad("no scopes", createKey, { subject: "s" }, "scopes"),
  bad("an unknown scope", createKey, { subject: "s", scopes: ["jobs:everything"] }, "scopes[0]"),
  bad("no subject", createKey, { scopes: ["access:admin"] }, "subject"),
  bad("a bad tenant", createKey, { subject: "s", scopes: ["access:admin"], tenant: "Nord" }, "tenant"),
  bad("a bad kind", createKey, { subject: "s", scopes: ["access:admin"], kinds: ["?"] }, "kinds[0]"),
  bad(
    "a bad expiry",
    createKey,
    { subject: "s", scopes: ["access:admin"], expiresAt: { seconds: 1n } },
    "expires_at",
  ),
  bad("a first key that is no admin's", createKey, { subject: "s", scopes: ["jobs:read"] }, /^$/, [
    9,
    "FIRST_KEY_NOT_ADMIN",
  ]),
  bad("a forged page token", listKeys, { pageToken: forged("soon/aaaaaaaaaaaa", ["keys", 1]) }, "page_token"),
  bad("a key id that is none", revokeKey, { keyId: "x" }, "key_id"),
  bad("an absent key", revokeKey, { keyId: "aaaaaaaaaaaa" }, /^$/, [5, "KEY_NOT_FOUND"]),
];

describe("a call that is refused says why, with ErrorInfo, on both ports", () => {
  for (const { title, method, request, field, code, reason } of badCalls)
    test(`${method.name}: ${title}`, async () => {
      await changesNothing(async () => {
        const byGrpc = await house.client().refused(method, request);
        expect(byGrpc).toMatchObject({ code, reason, domain: "holdfast" });
        expect(byGrpc.metadata.field ?? "").toMatch(typeof field === "string" ? asWhole(field) : field);
        const byHttp = await callHttp(
          house.hub().httpAddress,
          method,
          toBinary(method.input, create(method.input, request)),
        );
        expect(byHttp).toMatchObject({ code, reason, domain: "holdfast", metadata: byGrpc.metadata });
      });
    });
});

function asWhole(text: string): RegExp {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`);
}

describe("what is no message is refused on both ports", () => {
  const unary = [JobService, WorkerService, FleetService, AccessService].flatMap((service) =>
    service.methods.filter((method) => method.methodKind === "unary"),
  );
  for (const method of unary)
    test(method.name, async () => {
      // Field 1, length-delimited, of 100 bytes that do not follow.
      const truncated = Uint8Array.of(0x0a, 100, 1, 2, 3);
      await changesNothing(async () => {
        const refused = { code: 3, reason: "INVALID_FIELD", domain: "holdfast" };
        expect(await house.client().refusedBytes(method, truncated)).toMatchObject(refused);
        // On the HTTP port the Connect library answers before the hub is asked, without ErrorInfo.
        expect(await callHttp(house.hub().httpAddress, method, truncated)).toMatchObject({ code: 13 });
      });
    });

  test("text that is not UTF-8 is refused, and never altered", async () => {
    // SubmitRequest { job { kind: a lone surrogate in UTF-8 } }
    const surrogate = Uint8Array.of(0x0a, 5, 0x0a, 3, 0xed, 0xa0, 0x80);
    const labelled = Uint8Array.of(
      0x0a,
      14,
      0x0a,
      1,
      0x61,
      0x3a,
      9,
      0x0a,
      1,
      0x6b,
      0x12,
      3,
      0xed,
      0xa0,
      0x80,
      0x18,
    );
    for (const bytes of [surrogate, labelled.subarray(0, 15)])
      await changesNothing(async () => {
        expect(await house.client().refusedBytes(submit, bytes)).toMatchObject({
          code: 3,
          reason: "INVALID_FIELD",
        });
      });
  });
});

describe("Watch", () => {
  for (const [title, targets, code, reason, field] of [
    ["no targets", [], 3, "INVALID_FIELD", "targets"],
    ["too many targets", many(101, () => ({ jobId: absent })), 3, "INVALID_FIELD", "targets"],
    ["a job twice", [{ jobId: absent }, { jobId: absent }], 3, "INVALID_FIELD", "targets"],
    ["an id that is none", [{ jobId: noUuid }], 3, "INVALID_FIELD", "targets[0].job_id"],
    [
      "a negative revision",
      [{ jobId: absent, afterRevision: -1 }],
      3,
      "INVALID_FIELD",
      "targets[0].after_revision",
    ],
    ["an absent job", [{ jobId: absent }], 5, "JOB_NOT_FOUND", undefined],
  ] as const)
    test(`${title} is refused`, async () => {
      await changesNothing(async () => {
        const failure = await house.client().refused(watch, { targets: [...targets] });
        expect(failure).toMatchObject({ code, reason, domain: "holdfast" });
        expect(failure.metadata.field).toBe(field);
      });
    });

  test("bytes that are no message are refused", async () => {
    expect(await house.client().refusedBytes(watch, Uint8Array.of(0x0a, 100))).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
    });
  });
});

test("a batch with bad items accepts their neighbours, and says of each what is wrong", async () => {
  const client = house.client();
  const jobs = [
    { kind: "batched" },
    { kind: "batched", payload: Buffer.alloc(4 * KiB + 1) },
    { kind: "NO" },
    { kind: "batched", labels: { a: "\0" } },
    { kind: "batched" },
  ];
  const { results } = await client.call(submitBatch, { jobs });
  expect(results.map(({ result }) => result.case)).toEqual([
    "accepted",
    "refused",
    "refused",
    "refused",
    "accepted",
  ]);
  const refusals = results.flatMap(({ result }) => (result.case === "refused" ? [result.value] : []));
  expect(refusals.map((refusal) => [refusal.reason, refusal.metadata.field])).toEqual([
    ["PAYLOAD_TOO_LARGE", "jobs[1].payload"],
    ["INVALID_FIELD", "jobs[2].kind"],
    ["INVALID_FIELD", "jobs[3].labels[a]"],
  ]);
  const counted = await house.query(
    "select count(*)::integer as n from job j join lane using (lane_id) where kind = 'batched'",
  );
  expect(counted[0]?.n).toBe(2);
});

describe("Attach", () => {
  const hello = { case: "hello", value: worker } as const;
  const notNow = [
    ["credit", { case: "credit", value: { jobs: 1, bytes: 1n } }],
    ["a heartbeat", { case: "heartbeat", value: { nonce: 1n } }],
    ["a report", { case: "report", value: { results: [] } }],
    ["a drain", { case: "drain", value: {} }],
  ] as const;
  for (const [title, message] of notNow)
    test(`${title} before the hello ends the stream`, async () => {
      await changesNothing(async () => {
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
    ["too many products", { products: many(65, (at) => `p${at}`) }, "hello.products"],
    ["a bad queue", { queues: [""] }, "hello.queues[0]"],
    ["a bad session", { sessionId: noUuid }, "hello.session_id"],
    ["a bad lease", { sessionId: absent, held: [{ jobId: noUuid }] }, "hello.held[0].job_id"],
  ] as const)
    test(`a hello with ${title} is refused`, async () => {
      await changesNothing(async () => {
        const stream = house.client().attach();
        stream.send({ case: "hello", value: { ...worker, ...change } as never });
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
    stream.send({ case: "hello", value: { ...worker, protocolVersion: 9 } });
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
      await changesNothing(async () => {
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

test("the session beside all this never noticed: it is still leased jobs and reports them", async () => {
  await submitOne(house.client(), { kind: "neighbour" });
  expect((await neighbour.succeed(await neighbour.lease())).verdict).toBe(1);
});

function up(message: MessageInitShape<typeof AttachRequestSchema>["message"]): Uint8Array {
  return toBinary(AttachRequestSchema, create(AttachRequestSchema, message ? { message } : {}));
}
