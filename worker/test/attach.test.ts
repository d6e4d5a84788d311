import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { type JobContext, JobFailure } from "../src/index.js";
import { resultText, until } from "./scripted-hub.js";
import { gate, testHub, testWorker } from "./test-worker.js";

test("a worker says who it is, runs what it is leased, and reports what came of it", async () => {
  const hub = await testHub();
  const worker = testWorker({
    address: hub.address,
    name: "greeter",
    apiKey: "secret",
    handlers: { greet: (job) => `Hello, ${job.json<{ name: string }>().name}` },
    capabilities: ["gpu"],
    queues: ["fast"],
    weights: { age: 2, retries: 0 },
  });
  const stream = await hub.live();
  expect(stream.hello).toMatchObject({
    protocolVersion: 1,
    workerName: "greeter",
    kinds: ["greet"],
    capabilities: ["gpu"],
    queues: ["fast"],
    weights: { age: 2, retries: 0 },
    products: [],
    sessionId: "",
  });
  expect(hub.authorizations).toEqual(["Bearer secret"]);
  stream.lease({ jobId: "job-1", kind: "greet", payload: Buffer.from('{"name":"Ada"}') });
  await until(() => worker.stats().committed === 1, "the verdict");
  expect(resultText(stream.results[0])).toBe("Hello, Ada");
  expect(worker.stats()).toMatchObject({ committed: 1, failed: 0, running: 0, waiting: 0 });
});

test("a handler may throw what cannot be looked at, or return it: its job fails, and the next one runs", async () => {
  const hub = await testHub();
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const handlers = {
    never: () => {
      throw new JobFailure("BUSY", "not now", { retryAfterMs: Number.POSITIVE_INFINITY });
    },
    bare: () => Promise.reject(Object.create(null)),
    revoked: () => {
      throw proxy;
    },
    returned: () => proxy,
    thenable: () => ({
      // biome-ignore lint/suspicious/noThenProperty: what a handler in plain JavaScript may return
      then: (resolve: (value: string) => void) => {
        resolve("first");
        resolve("second");
        throw new Error("third");
      },
    }),
    good: () => "still here",
  };
  const worker = testWorker({ address: hub.address, concurrency: 1, handlers });
  const stream = await hub.live();
  const kinds = Object.keys(handlers);
  stream.lease(...kinds.map((kind) => ({ jobId: kind, kind })));
  await until(() => worker.stats().committed === kinds.length, "all verdicts");
  const succeeded = stream.results.filter(({ outcome }) => outcome?.outcome.case === "success");
  expect(succeeded.map(({ jobId }) => jobId)).toEqual(["thenable", "good"]);
  expect(worker.stats()).toMatchObject({ failed: 4, running: 0, waiting: 0 });
});

test("each kind of return value is reported with its content type, and each failure with its code", async () => {
  const hub = await testHub();
  const handlers = {
    nothing: () => {},
    text: () => "ä",
    bytes: () => new Uint8Array([1, 2]),
    json: async () => ({ a: 1 }),
    circular: () => {
      const value: { self?: object } = {};
      value.self = value;
      return value;
    },
    refuse: () => {
      throw new JobFailure("http 503", "busy", { permanent: true, retryAfterMs: 1500 });
    },
    coded: async () => {
      throw Object.assign(new Error("no route"), { code: "EHOSTUNREACH" });
    },
    plain: () => Promise.reject("just text"),
  };
  testWorker({ address: hub.address, handlers });
  const stream = await hub.live();
  const kinds = [...Object.keys(handlers), "unheard-of"];
  stream.lease(...kinds.map((kind) => ({ jobId: kind, kind })));
  await until(() => stream.results.length === kinds.length, "all results");
  const outcomes = Object.fromEntries(
    stream.results.map(({ jobId, outcome }) => {
      const { case: name, value } = outcome?.outcome ?? { case: undefined };
      return [
        jobId,
        name === "success" ? [Buffer.from(value.result).toString("latin1"), value.contentType] : value,
      ];
    }),
  );
  expect(outcomes).toMatchObject({
    nothing: ["", ""],
    text: ["Ã¤", "text/plain; charset=utf-8"],
    bytes: ["\x01\x02", "application/octet-stream"],
    json: ['{"a":1}', "application/json"],
    circular: { code: "RESULT_NOT_JSON", permanent: true },
    refuse: {
      code: "HTTP_503",
      message: "busy",
      permanent: true,
      retryAfter: { seconds: 1n, nanos: 500_000_000 },
    },
    coded: { code: "EHOSTUNREACH", message: "Error: no route", permanent: false },
    plain: { code: "HANDLER_ERROR", message: "just text" },
    "unheard-of": { code: "NO_HANDLER" },
  });
});

test("a handler sees everything that the lease says of its job", async () => {
  const hub = await testHub();
  let seen: JobContext | undefined;
  testWorker({
    address: hub.address,
    handlers: {
      work: (job) => {
        seen = job;
      },
    },
  });
  const stream = await hub.live();
  stream.lease(
    { jobId: "neighbour", payload: Buffer.alloc(1000, 1) },
    {
      jobId: "job-1",
      fencingToken: 7n,
      attempt: 2,
      maxAttempts: 9,
      product: "atlas",
      queue: "fast",
      payload: Buffer.from("[1]"),
      contentType: "application/json",
      checkpoint: { sequence: 4n, state: Buffer.from("half") },
      deadline: { seconds: 1_900_000_000n, nanos: 0 },
      submittedAt: { seconds: 1_800_000_000n, nanos: 0 },
      traceContext: { traceparent: "00-a-b-01", tracestate: "x=y" },
      labels: { team: "red" },
      idempotencyKey: "once",
    },
  );
  await until(() => stream.results.length === 2, "the result");
  const { id, kind, product, queue, attempt, maxAttempts, fencingToken, contentType, labels } =
    seen as JobContext;
  expect({ id, kind, product, queue, attempt, maxAttempts, fencingToken, contentType, labels }).toEqual({
    id: "job-1",
    kind: "work",
    product: "atlas",
    queue: "fast",
    attempt: 2,
    maxAttempts: 9,
    fencingToken: 7n,
    contentType: "application/json",
    labels: { team: "red" },
  });
  expect(seen?.json()).toEqual([1]);
  expect(Buffer.from(seen?.payload ?? []).toString()).toBe("[1]");
  expect(seen?.checkpoint?.sequence).toBe(4n);
  expect(Buffer.from(seen?.checkpoint?.state ?? []).toString()).toBe("half");
  expect(seen?.deadline?.getTime()).toBe(1_900_000_000_000);
  expect(seen?.submittedAt?.getTime()).toBe(1_800_000_000_000);
  expect(seen?.traceContext).toMatchObject({ traceparent: "00-a-b-01", tracestate: "x=y" });
  expect(seen?.idempotencyKey).toBe("once");
});

test("the hub is granted as many leases as can be held, and more only as leases end", async () => {
  const hub = await testHub();
  const gates = new Map(["a", "b", "c", "d"].map((id) => [id, gate()]));
  const started: string[] = [];
  testWorker({
    address: hub.address,
    concurrency: 1,
    prefetch: 2,
    heldBytesMax: 1 << 20,
    handlers: {
      work: (job) => {
        started.push(job.id);
        return gates.get(job.id)?.opened;
      },
    },
  });
  const stream = await hub.live();
  await until(() => stream.credit.jobs === 3, "the first grant");
  expect(stream.credit.bytes).toBe(1 << 20);
  stream.lease({ jobId: "a", payload: Buffer.alloc(1000) }, { jobId: "b" }, { jobId: "c" });
  await until(() => started.length === 1, "the first handler");
  expect(stream.credit).toEqual({ jobs: 0, bytes: (1 << 20) - 1000 });
  gates.get("a")?.open();
  await until(() => stream.credit.jobs === 1, "credit for the lease that ended");
  expect(stream.credit.bytes).toBe(1 << 20);
  stream.lease({ jobId: "d" });
  for (const id of ["b", "c", "d"]) {
    await until(() => started.at(-1) === id, `job ${id}, in the order of its lease`);
    gates.get(id)?.open();
  }
  await until(() => stream.credit.jobs === 3, "all credit");
  expect(started).toEqual(["a", "b", "c", "d"]);
});

test("a grant stays within what the hub allows to be outstanding", async () => {
  const hub = await testHub({
    welcome: () => ({ sessionId: "s", limits: { creditJobsMax: 5, creditBytesMax: 70_000n } }),
  });
  testWorker({ address: hub.address, concurrency: 100, heldBytesMax: 1 << 20 });
  const stream = await hub.live();
  await until(() => stream.creditMessages > 0, "the grant");
  expect(stream.credit).toEqual({ jobs: 5, bytes: 70_000 });
  stream.lease({ jobId: "a" }, { jobId: "b" });
  await until(() => stream.credit.jobs === 5, "credit back");
});

test("whatever the worker sends acknowledges the newest delivery that it has read", async () => {
  const hub = await testHub();
  testWorker({ address: hub.address });
  const stream = await hub.live();
  hub.delivery = 41n;
  stream.lease({ jobId: "a" });
  await until(() => stream.results.length === 1, "the result");
  await until(() => stream.all("heartbeat").length > 2, "a heartbeat");
  expect(stream.received.at(-1)?.deliveredThrough).toBe(42n);
});

test("a lease that is delivered twice runs once and spends credit once", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const running = gate();
  let starts = 0;
  testWorker({
    address: hub.address,
    concurrency: 2,
    handlers: {
      work: () => {
        starts++;
        return running.opened;
      },
    },
  });
  const stream = await hub.live();
  await until(() => stream.credit.jobs === 4, "the grant");
  stream.lease({ jobId: "a" });
  stream.lease({ jobId: "a" });
  running.open();
  await until(() => stream.results.length === 1, "the result");
  stream.lease({ jobId: "a" });
  stream.lease({ jobId: "b" });
  await until(() => stream.reported.includes("b"), "the next job");
  expect(starts).toBe(2);
  expect(stream.reported).toEqual(["a", "b"]);
});

test("a refused result is reported as a permanent failure instead, and given back when that is refused too (D5)", async () => {
  const hub = await testHub({ verdict: () => undefined });
  const worker = testWorker({ address: hub.address, handlers: { work: () => "too much" } });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => stream.results.length === 1, "the result");
  stream.verdict(Verdict.REFUSED, "a");
  await until(() => stream.results.length === 2, "the failure");
  expect(stream.results[1]?.outcome?.outcome).toMatchObject({
    case: "failure",
    value: {
      code: "RESULT_REFUSED",
      message: "PAYLOAD_TOO_LARGE: larger than result_bytes_max",
      permanent: true,
    },
  });
  stream.verdict(Verdict.REFUSED, "a");
  await until(() => stream.released.length === 1, "the release");
  expect(stream.released).toEqual(["a started"]);
  expect(worker.stats()).toMatchObject({ committed: 0, refused: 2 });
});

test("a result that the hub cannot take never reaches the stream", async () => {
  const hub = await testHub({ welcome: () => ({ sessionId: "s", limits: { resultBytesMax: 100 } }) });
  testWorker({ address: hub.address, handlers: { work: () => "x".repeat(101) } });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => stream.results.length === 1, "the failure");
  expect(stream.results[0]?.outcome?.outcome).toMatchObject({
    value: { code: "RESULT_REFUSED", permanent: true },
  });
});

test("a report stays within the hub's number of results", async () => {
  const hub = await testHub({ welcome: () => ({ sessionId: "s", limits: { reportResultsMax: 3 } }) });
  testWorker({ address: hub.address, concurrency: 10 });
  const stream = await hub.live();
  stream.lease(...Array.from({ length: 10 }, (_, i) => ({ jobId: `job-${i}` })));
  await until(() => stream.results.length === 10, "all results");
  expect(stream.all("report").map(({ results }) => results.length)).toEqual([3, 3, 3, 1]);
});

test("every final verdict is told to the application", async () => {
  const verdicts: Record<string, Verdict> = { a: Verdict.COMMITTED, b: Verdict.DUPLICATE, c: Verdict.STALE };
  const hub = await testHub({ verdict: ({ jobId }) => verdicts[jobId] });
  const told: string[] = [];
  const worker = testWorker({
    address: hub.address,
    onVerdict: ({ jobId, fencingToken, verdict }) => told.push(`${jobId} ${fencingToken} ${verdict}`),
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" }, { jobId: "b" }, { jobId: "c" });
  await until(() => told.length === 3, "the verdicts");
  expect(told).toEqual(["a 1 committed", "b 1 duplicate", "c 1 stale"]);
  expect(worker.stats()).toMatchObject({ committed: 1, duplicate: 1, stale: 1, refused: 0 });
});
