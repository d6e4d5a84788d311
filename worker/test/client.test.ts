import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, type ServerWritableStream, status } from "@grpc/grpc-js";
import {
  DependencyKind,
  DisconnectPolicy,
  FailureClass,
  FailurePolicy,
  JobState,
  Priority,
  UniquePolicy,
} from "@holdfast/gen/holdfast/v1/job_pb";
import {
  AddChildrenResponseSchema,
  CancelResponseSchema,
  GetDagResponseSchema,
  GetResponseSchema,
  JobService,
  ListChildrenResponseSchema,
  ListResponseSchema,
  SubmitBatchResponseSchema,
  SubmitResponseSchema,
  SubmitRunResponseSchema,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from "@holdfast/gen/holdfast/v1/job_service_pb";
import { expect, onTestFinished, test } from "vitest";
import { openClient } from "../src/client/client.js";
import { deserializer, methodPath, serializer } from "../src/grpc/method-codec.js";
import { createClient, HoldfastError, InvalidOptionsError, resultOf } from "../src/index.js";
import { statusDetails, until } from "./scripted-hub.js";

type Watch = ServerWritableStream<WatchRequest, WatchResponse>;

/** A JobService that answers each call from a table, and keeps what it was asked. */
async function jobHub(port = 0) {
  const asked: { method: string; request: Record<string, unknown>; authorization: unknown }[] = [];
  const answers: Record<string, unknown> = {};
  const watches: Watch[] = [];
  const server = new Server();
  for (const method of JobService.methods) {
    const definition = {
      path: methodPath(method),
      requestStream: false,
      responseStream: method.methodKind === "server_streaming",
      requestSerialize: serializer(method.input),
      requestDeserialize: deserializer(method.input),
      responseSerialize: serializer(method.output),
      responseDeserialize: deserializer(method.output),
    };
    const { localName } = method;
    const handler =
      method.methodKind === "server_streaming"
        ? (call: Watch) => {
            watches.push(call);
            call.sendMetadata(new Metadata());
          }
        : (
            call: { request: Record<string, unknown>; metadata: Metadata },
            callback: (error: unknown, value?: unknown) => void,
          ) => {
            const authorization = call.metadata.get("authorization")[0];
            asked.push({ method: localName, request: call.request, authorization });
            const answer = answers[localName];
            if (answer instanceof Failure) callback(answer.error);
            else callback(null, answer);
          };
    server.addService({ [localName]: definition }, { [localName]: handler as never });
  }
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, given) =>
      error ? reject(error) : resolve(given),
    );
  });
  onTestFinished(() => server.forceShutdown());
  return {
    asked,
    answers,
    watches,
    port: bound,
    address: `127.0.0.1:${bound}`,
    stop: () => server.forceShutdown(),
  };
}

/** A refusal as the hub's error mapping writes it. */
class Failure {
  readonly error: { code: status; details: string; metadata: Metadata };

  constructor(code: status, reason: string, metadata: Record<string, string> = {}) {
    const trailer = new Metadata();
    trailer.set("grpc-status-details-bin", statusDetails(code, reason, metadata));
    this.error = { code, details: `no: ${reason}`, metadata: trailer };
  }
}

function testClient(address: string | string[], options: { timeoutMs?: number; apiKey?: string } = {}) {
  const client = openClient({ address, ...options }, (addresses) => addresses);
  onTestFinished(() => client.close());
  return client;
}

function event(jobId: string, revision: number, state: JobState): WatchResponse {
  return create(WatchResponseSchema, { update: { case: "event", value: { jobId, revision, state } } });
}

test("submit says the whole job in the wire's terms", async () => {
  const hub = await jobHub();
  hub.answers.submit = create(SubmitResponseSchema, {
    jobId: "job-1",
    existing: true,
    replacedJobId: "job-0",
  });
  const client = testClient(hub.address, { apiKey: "secret" });
  const submitted = await client.submit({
    kind: "scan",
    payload: { path: "/" },
    product: "atlas",
    queue: "fast",
    priority: "high",
    capabilities: ["gpu"],
    labels: { team: "red" },
    idempotencyKey: "once",
    unique: { key: "nightly", policy: "replace" },
    source: "api.example/v2",
    fairness: { key: "Customer:42", weight: 3 },
    runAt: new Date(1_700_000_000_000),
    deadline: new Date(1_800_000_000_500),
    startBy: new Date(1_750_000_000_000),
    retry: {
      maxAttempts: 3,
      initialBackoffMs: 1500,
      factor: 3,
      maxBackoffMs: 60_000,
      permanentCodes: ["HTTP_404"],
      permanentClasses: ["parse-error"],
    },
    disconnectPolicy: "finish-and-report",
    disconnectLimitMs: 90_000,
    traceContext: { traceparent: "00-a-b-01" },
  });
  expect(submitted).toEqual({ jobId: "job-1", existing: true, replacedJobId: "job-0" });
  expect(hub.asked[0]?.authorization).toBe("Bearer secret");
  expect(hub.asked[0]?.request.job).toMatchObject({
    kind: "scan",
    payload: new Uint8Array(Buffer.from('{"path":"/"}')),
    contentType: "application/json",
    product: "atlas",
    queue: "fast",
    priority: Priority.HIGH,
    capabilities: ["gpu"],
    labels: { team: "red" },
    idempotencyKey: "once",
    unique: { key: "nightly", policy: UniquePolicy.REPLACE },
    source: "api.example/v2",
    fairness: { key: "Customer:42", weight: 3 },
    runAt: { seconds: 1_700_000_000n, nanos: 0 },
    deadline: { seconds: 1_800_000_000n, nanos: 500_000_000 },
    retry: {
      maxAttempts: 3,
      initialBackoff: { seconds: 1n, nanos: 500_000_000 },
      factor: 3,
      maxBackoff: { seconds: 60n },
      permanentCodes: ["HTTP_404"],
      permanentClasses: [FailureClass.PARSE_ERROR],
    },
    startBy: { seconds: 1_750_000_000n },
    disconnectPolicy: DisconnectPolicy.FINISH_AND_REPORT,
    disconnectLimit: { seconds: 90n },
    traceContext: { traceparent: "00-a-b-01" },
  });
});

test("what is not said is left to the hub's defaults", async () => {
  const hub = await jobHub();
  hub.answers.submit = create(SubmitResponseSchema, { jobId: "job-1" });
  const client = testClient(hub.address);
  for (const payload of [undefined, "text", new Uint8Array([1])]) {
    await client.submit({ kind: "scan", ...(payload === undefined ? {} : { payload }) });
  }
  const jobs = hub.asked.map(
    ({ request }) => request.job as { contentType: string; priority: Priority; retry?: object },
  );
  expect(jobs.map(({ contentType }) => contentType)).toEqual([
    "",
    "text/plain; charset=utf-8",
    "application/octet-stream",
  ]);
  expect(jobs[0]).toMatchObject({
    priority: Priority.UNSPECIFIED,
    disconnectPolicy: DisconnectPolicy.UNSPECIFIED,
  });
  expect(jobs[0]?.retry).toBeUndefined();
});

test("a job that cannot be said in the wire's terms is refused before it is sent", async () => {
  const hub = await jobHub();
  const client = testClient(hub.address);
  // @ts-expect-error: what a caller in plain JavaScript may write
  const refused = client.submit({ kind: "scan", priority: "hihg", runAt: "tomorrow", lables: {} });
  await expect(refused).rejects.toThrow(InvalidOptionsError);
  await expect(refused).rejects.toThrow(
    /priority must be one of "low", "normal", "high", "critical", got "hihg"/,
  );
  await expect(refused).rejects.toThrow(/runAt must be a valid Date, got "tomorrow"/);
  await expect(refused).rejects.toThrow(/lables must be one of the options/);
  expect(hub.asked).toEqual([]);
});

test("each item of a batch is answered by itself", async () => {
  const hub = await jobHub();
  hub.answers.submitBatch = create(SubmitBatchResponseSchema, {
    results: [
      { result: { case: "accepted", value: { jobId: "job-1" } } },
      {
        result: {
          case: "refused",
          value: { reason: "INVALID_FIELD", message: "no", metadata: { field: "kind" } },
        },
      },
    ],
  });
  expect(await testClient(hub.address).submitBatch([{ kind: "a" }, { kind: "b" }])).toEqual([
    { outcome: "accepted", jobId: "job-1", existing: false },
    { outcome: "refused", reason: "INVALID_FIELD", message: "no", metadata: { field: "kind" } },
  ]);
});

test("a refused call throws the hub's reason, its metadata and its status", async () => {
  const hub = await jobHub();
  hub.answers.get = new Failure(status.NOT_FOUND, "JOB_NOT_FOUND", {
    job_id: "job-9",
    retry_after: "0.25s",
  });
  const error = await testClient(hub.address)
    .get("job-9")
    .catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(HoldfastError);
  expect(error).toMatchObject({
    name: "HoldfastError",
    reason: "JOB_NOT_FOUND",
    message: "no: JOB_NOT_FOUND",
    metadata: { job_id: "job-9" },
    grpcCode: status.NOT_FOUND,
    retryAfterMs: 250,
  });
});

/** A hub that is gone, and one that has a job and takes submits. */
async function goneAndThere() {
  const gone = await jobHub();
  gone.stop();
  const there = await jobHub();
  there.answers.get = create(GetResponseSchema, { job: { id: "job-1" } });
  there.answers.submit = create(SubmitResponseSchema, { jobId: "job-1" });
  return { gone, there };
}

test("a read, and a submit with an idempotency key, go on to the next hub when one is not there (D2)", async () => {
  const { gone, there } = await goneAndThere();
  const reader = testClient([gone.address, there.address]);
  expect((await reader.get("job-1")).job.id).toBe("job-1");
  const submitter = testClient([gone.address, there.address]);
  expect((await submitter.submit({ kind: "scan", idempotencyKey: "once" })).jobId).toBe("job-1");
});

test("a submit without a key is not made again: nobody knows what became of it; the next call goes elsewhere", async () => {
  const { gone, there } = await goneAndThere();
  const client = testClient([gone.address, there.address]);
  const lost = { reason: "UNAVAILABLE", grpcCode: status.UNAVAILABLE };
  await expect(client.submit({ kind: "scan" })).rejects.toMatchObject(lost);
  expect((await client.submit({ kind: "scan" })).jobId).toBe("job-1");
  expect(there.asked).toHaveLength(1);
});

test("a hub that is stopping has done nothing: every call goes on to the next", async () => {
  const { there } = await goneAndThere();
  const stopping = await jobHub();
  const refusal = new Failure(status.UNAVAILABLE, "HUB_STOPPING");
  Object.assign(stopping.answers, { submit: refusal, cancel: refusal });
  there.answers.cancel = create(CancelResponseSchema, { job: { id: "job-1" } });
  const client = testClient([stopping.address, there.address]);
  expect((await client.submit({ kind: "scan" })).jobId).toBe("job-1");
  const other = testClient([stopping.address, there.address]);
  expect((await other.cancel("job-1")).id).toBe("job-1");
  expect(stopping.asked).toHaveLength(2);
});

test("a call fails once no hub of the list was there, and a watch too", async () => {
  const { gone } = await goneAndThere();
  const lost = { grpcCode: status.UNAVAILABLE };
  const client = testClient([gone.address, "127.0.0.1:1"]);
  await expect(client.get("job-1")).rejects.toMatchObject(lost);
  await expect(client.watch("a")[Symbol.asyncIterator]().next()).rejects.toMatchObject(lost);
});

test("a watch finds the hub that is there", async () => {
  const { gone, there } = await goneAndThere();
  const client = testClient([gone.address, there.address]);
  const next = client.watch("a")[Symbol.asyncIterator]().next();
  await until(() => there.watches.length === 1, "the watch");
  there.watches[0]?.write(event("a", 1, JobState.READY));
  expect((await next).value).toMatchObject({ update: { case: "event", value: { revision: 1 } } });
});

test("list and cancel pass their filters and times on", async () => {
  const hub = await jobHub();
  hub.answers.list = create(ListResponseSchema, { jobs: [{ id: "job-1" }], nextPageToken: "more" });
  hub.answers.cancel = create(CancelResponseSchema, { job: { id: "job-1", state: JobState.CANCELLED } });
  const client = testClient(hub.address);
  const filter = { states: [JobState.DEAD], kind: "scan", labels: { a: "b" }, pageSize: 7, pageToken: "p" };
  const page = await client.list({ ...filter, submittedAfter: new Date(5_000) });
  expect(page).toMatchObject({ jobs: [{ id: "job-1" }], nextPageToken: "more" });
  expect(hub.asked[0]?.request).toMatchObject({ ...filter, submittedAfter: { seconds: 5n } });
  expect((await client.cancel("job-1", { reason: "why", graceMs: 1500 })).state).toBe(JobState.CANCELLED);
  expect(hub.asked[1]?.request).toMatchObject({
    jobId: "job-1",
    reason: "why",
    grace: { seconds: 1n, nanos: 500_000_000 },
  });
});

test("a watch that loses its hub goes on after the last revision it saw", async () => {
  const hub = await jobHub();
  const client = testClient(hub.address);
  const seen: number[] = [];
  const watching = (async () => {
    for await (const { update } of client.watch(["a", { jobId: "b", afterRevision: 4 }])) {
      if (update.case === "event") seen.push(update.value.revision);
    }
  })();
  await until(() => hub.watches.length === 1, "the watch");
  expect(hub.watches[0]?.request.targets).toMatchObject([
    { jobId: "a", afterRevision: 0 },
    { jobId: "b", afterRevision: 4 },
  ]);
  hub.watches[0]?.write(event("a", 1, JobState.READY));
  hub.watches[0]?.write(event("a", 2, JobState.LEASED));
  await until(() => seen.length === 2, "two events");
  hub.watches[0]?.emit("error", { code: status.UNAVAILABLE, details: "gone" });
  await until(() => hub.watches.length === 2, "the watch again");
  expect(hub.watches[1]?.request.targets).toMatchObject([{ jobId: "a", afterRevision: 2 }, { jobId: "b" }]);
  hub.watches[1]?.write(event("a", 3, JobState.SUCCEEDED));
  hub.watches[1]?.end();
  await watching;
  expect(seen).toEqual([1, 2, 3]);
});

test("a watch that is refused, or never found a hub, fails", async () => {
  const hub = await jobHub();
  const client = testClient(hub.address);
  const refused = client.watch("a")[Symbol.asyncIterator]().next();
  await until(() => hub.watches.length === 1, "the watch");
  hub.watches[0]?.emit("error", new Failure(status.NOT_FOUND, "JOB_NOT_FOUND").error);
  await expect(refused).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
  hub.stop();
  await expect(client.watch("a")[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    grpcCode: status.UNAVAILABLE,
  });
});

test("aborting a watch ends its stream at the hub and throws the signal's reason", async () => {
  const hub = await jobHub();
  const abortion = new AbortController();
  const next = testClient(hub.address).watch("a", { signal: abortion.signal })[Symbol.asyncIterator]().next();
  await until(() => hub.watches.length === 1, "the watch");
  abortion.abort(new Error("enough"));
  await expect(next).rejects.toThrow("enough");
  await until(() => hub.watches[0]?.cancelled === true, "the end of the stream");
});

test("waitFor answers with the job once it has ended, with its result", async () => {
  const hub = await jobHub();
  const job: MessageInitShape<typeof GetResponseSchema>["job"] = {
    id: "a",
    state: JobState.SUCCEEDED,
    outcome: {
      outcome: {
        case: "success",
        value: { result: Buffer.from('{"n":1}'), contentType: "application/json" },
      },
    },
  };
  hub.answers.get = create(GetResponseSchema, { job });
  const waiting = testClient(hub.address).waitFor("a", { timeoutMs: 10_000 });
  await until(() => hub.watches.length === 1, "the watch");
  hub.watches[0]?.write(event("a", 2, JobState.LEASED));
  hub.watches[0]?.write(event("a", 3, JobState.SUCCEEDED));
  expect(resultOf(await waiting)?.json()).toEqual({ n: 1 });
});

test("waitFor gives up when its time is over", async () => {
  const hub = await jobHub();
  const waiting = testClient(hub.address).waitFor("a", { timeoutMs: 50 });
  await expect(waiting).rejects.toMatchObject({
    reason: "DEADLINE_EXCEEDED",
    message: "job a has not ended within 50 ms",
    grpcCode: status.DEADLINE_EXCEEDED,
  });
});

test.each([-1, Number.NaN, 2 ** 31, 30 * 86_400_000])(
  "waitFor refuses a time of %d ms: no timer of Node can be set to it",
  async (timeoutMs) => {
    const hub = await jobHub();
    const waiting = testClient(hub.address).waitFor("a", { timeoutMs });
    await expect(waiting).rejects.toThrow(
      new RangeError(`timeoutMs must be from 0 to 2147483647, got ${timeoutMs}`),
    );
    expect(hub.watches).toEqual([]);
  },
);

test("a client refuses options that it does not know, and calls after its end", async () => {
  // @ts-expect-error: what a caller in plain JavaScript may write
  expect(() => createClient({ adress: "127.0.0.1:1" })).toThrow(/adress must be one of the options/);
  const client = createClient({ address: "127.0.0.1:1" });
  client.close();
  await expect(client.get("a")).rejects.toThrow("the client is closed");
});

test("a run is submitted with its dependencies, policy and compensations in the wire's terms", async () => {
  const hub = await jobHub();
  hub.answers.submitRun = create(SubmitRunResponseSchema, { runId: "top", childIds: ["a", "b"] });
  hub.answers.addChildren = create(AddChildrenResponseSchema, { children: [{ jobId: "c", existing: true }] });
  const client = testClient(hub.address);

  const run = await client.submitRun({
    parent: { kind: "sum" },
    children: [
      { kind: "part", idempotencyKey: "one", compensation: { job: { kind: "undo" }, onRunFailure: true } },
      { kind: "part", dependsOn: [{ idempotencyKey: "one" }, { jobId: "before", soft: true }] },
    ],
    failurePolicy: "wait-for-all",
    stopGraceMs: 1_500,
  });
  const added = await client.addChildren("top", [{ kind: "part" }]);

  expect(run).toEqual({ runId: "top", childIds: ["a", "b"], existing: false });
  expect(added).toEqual([{ jobId: "c", existing: true }]);
  expect(hub.asked[0]?.request).toMatchObject({
    parent: { kind: "sum" },
    children: [
      { compensation: { job: { kind: "undo" }, onRunFailure: true } },
      {
        dependsOn: [
          { on: { case: "idempotencyKey", value: "one" }, kind: DependencyKind.HARD },
          { on: { case: "jobId", value: "before" }, kind: DependencyKind.SOFT },
        ],
      },
    ],
    failurePolicy: FailurePolicy.WAIT_FOR_ALL,
    stopGrace: { seconds: 1n, nanos: 500_000_000 },
  });
  await expect(
    client.submitRun({ parent: { kind: "sum" }, children: [], failurePolicy: "none" as never }),
  ).rejects.toThrow(InvalidOptionsError);
});

test("a run's graph and a parent's children are read to the end", async () => {
  const hub = await jobHub();
  hub.answers.getDag = create(GetDagResponseSchema, { runId: "top", jobs: 1, nodes: [{ jobId: "top" }] });
  hub.answers.listChildren = create(ListChildrenResponseSchema, {
    children: [{ jobId: "a" }, { jobId: "b" }],
  });
  const client = testClient(hub.address);

  const dag = await client.getDag("top");
  const children: string[] = [];
  for await (const child of client.children("top")) children.push(child.jobId);

  expect(dag).toMatchObject({ runId: "top", jobs: 1, nodes: [{ jobId: "top" }] });
  expect(children).toEqual(["a", "b"]);
});
