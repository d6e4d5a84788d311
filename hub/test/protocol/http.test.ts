// The HTTP port, by clients of the Connect libraries and by plain HTTP; and what comes with the gRPC port.
import { once } from "node:events";
import http from "node:http";
import { text } from "node:stream/consumers";
import { create, type DescMessage, fromJson, toJson } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Client, credentials } from "@grpc/grpc-js";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService, SubmitResponseSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import {
  type AttachRequest,
  AttachRequestSchema,
  Verdict,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { describe, expect, test } from "vitest";
import { splitAddress } from "../../src/domain/address.js";
import { callHttp } from "../harness/raw-http.js";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitOne } from "../harness/raw-jobs.js";
import { attachWorker, greeting, success } from "../harness/raw-worker.js";

const house = useHub();
const url = (path = "") => `http://${house.hub().httpAddress}${path}`;

test("curl can do it: a job in JSON is submitted, and what is wrong with another is said in JSON", async () => {
  const good = await callHttp(house.hub().httpAddress, JobService.method.submit, {
    job: { kind: "work", payload: Buffer.from("in").toString("base64"), labels: { via: "curl" } },
  });
  if (!("body" in good)) throw new Error(good.message);
  const { jobId } = fromJson(SubmitResponseSchema, JSON.parse(Buffer.from(good.body).toString()));
  expect(await getJob(house.client(), jobId)).toMatchObject({ kind: "work", labels: { via: "curl" } });
  for (const [job, field] of [
    [{ kind: "Work" }, "job.kind"],
    [{ kind: "work", labels: { site: "\0" } }, "job.labels[site]"],
  ] as const)
    expect(await callHttp(house.hub().httpAddress, JobService.method.submit, { job })).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
      domain: "holdfast",
      metadata: { field },
    });
});

test("a deadline that no timer can be set to is refused, and not over at once", async () => {
  const submit = (timeoutMs: number) =>
    callHttp(
      house.hub().httpAddress,
      JobService.method.submit,
      { job: { kind: "patient" } },
      { "connect-timeout-ms": String(timeoutMs) },
    );
  expect(await submit(2 ** 31 - 1)).toHaveProperty("body");
  expect(await submit(2 ** 31)).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
});

test("without any key, a page whose own name leads to this machine is not served; localhost is", async () => {
  const { host, port } = splitAddress(house.hub().httpAddress);
  const { parent, name } = JobService.method.submit;
  const post = async (named: string) => {
    const headers = { host: `${named}:${port}`, "content-type": "application/json" };
    const request = http.request({
      host,
      port,
      path: `/${parent.typeName}/${name}`,
      method: "POST",
      headers,
    });
    request.end('{"job":{"kind":"named"}}');
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    return { status: response.statusCode, body: await text(response) };
  };
  expect(await post("rebound.example")).toEqual({
    status: 401,
    body: expect.stringContaining("rebound.example"),
  });
  for (const local of ["localhost", "127.0.0.1", "[::1]"])
    expect(await post(local)).toMatchObject({ status: 200 });
});

describe("unary calls and Watch work over", () => {
  const transports: Record<string, () => Transport> = {
    "Connect, HTTP/1.1": () => createConnectTransport({ baseUrl: url(), httpVersion: "1.1" }),
    "Connect, HTTP/2": () => createConnectTransport({ baseUrl: url(), httpVersion: "2" }),
    "Connect, JSON": () =>
      createConnectTransport({ baseUrl: url(), httpVersion: "1.1", useBinaryFormat: false }),
    "gRPC-Web, HTTP/1.1": () => createGrpcWebTransport({ baseUrl: url(), httpVersion: "1.1" }),
    "gRPC, HTTP/2 with prior knowledge": () => createGrpcTransport({ baseUrl: url() }),
  };
  for (const [name, open] of Object.entries(transports))
    test(name, async () => {
      const client = createClient(JobService, open());
      const kind = `via-${Object.keys(transports).indexOf(name)}`;
      const { jobId } = await client.submit({ job: { kind } });
      const worker = await attachWorker(house.client(), { kinds: [kind] });
      const revisions: number[] = [];
      for await (const { update } of client.watch({ targets: [{ jobId }] })) {
        if (update.case !== "event") continue;
        revisions.push(update.value.revision);
        if (update.value.revision === 1) worker.credit(1);
        if (update.value.revision === 2) await worker.succeed(await worker.lease());
      }
      expect(revisions).toEqual([1, 2, 3]);
      expect((await client.get({ jobId })).job?.state).toBe(JobState.SUCCEEDED);
      await expect(client.get({ jobId: "x" })).rejects.toMatchObject({
        code: 3,
        details: [{ type: "google.rpc.ErrorInfo" }],
      });
    });
});

test("a worker can attach on the HTTP port by gRPC, do its work, and drain", async () => {
  const client = createClient(WorkerService, createGrpcTransport({ baseUrl: url() }));
  const jobId = await submitOne(house.client(), { kind: "h2c" });
  const outgoing: AttachRequest[] = [];
  let wake: () => void = () => undefined;
  let isOver = false;
  const send = (message: NonNullable<Parameters<typeof create<typeof AttachRequestSchema>>[1]>) => {
    outgoing.push(create(AttachRequestSchema, message));
    wake();
  };
  const requests = (async function* () {
    while (!isOver || outgoing.length > 0) {
      const next = outgoing.shift();
      if (next) yield next;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  })();
  send({ message: { case: "hello", value: { ...greeting, kinds: ["h2c"] } } });
  const seen: (string | undefined)[] = [];
  for await (const { message } of client.attach(requests)) {
    seen.push(message.case);
    if (message.case === "welcome") send({ message: { case: "credit", value: { jobs: 1, bytes: 1_000n } } });
    if (message.case === "leases") {
      const fencingToken = message.value.leases[0]?.fencingToken ?? 0n;
      const results = [{ jobId, fencingToken, outcome: { outcome: success("done") } }];
      send({ message: { case: "report", value: { results } }, deliveredThrough: message.value.delivery });
    }
    if (message.case === "verdicts") {
      expect(message.value.verdicts).toMatchObject([{ verdict: Verdict.COMMITTED }]);
      isOver = true;
      wake();
    }
  }
  expect(seen).toEqual(["welcome", "leases", "verdicts"]);
});

test("a second hello on the HTTP port ends the stream with ErrorInfo, as on the other", async () => {
  const client = createClient(WorkerService, createGrpcTransport({ baseUrl: url() }));
  const hello = create(AttachRequestSchema, { message: { case: "hello", value: greeting } });
  const stream = async () => {
    async function* twice() {
      yield hello;
      yield hello;
    }
    for await (const _ of client.attach(twice()));
  };
  await expect(stream()).rejects.toMatchObject({ code: 3, details: [{ type: "google.rpc.ErrorInfo" }] });
});

test("probes, metrics and a page for the lost are plain HTTP", async () => {
  for (const [path, status, text] of [
    ["/healthz", 200, /^ok/],
    ["/readyz", 200, /^ready/],
    ["/metrics", 200, /^# HELP/m],
    ["/", 200, /Holdfast/],
    ["/nowhere", 404, /Not found/],
  ] as const) {
    const response = await fetch(url(path));
    expect(response.status, path).toBe(status);
    expect(await response.text(), path).toMatch(text);
  }
  const metrics = await (await fetch(url("/metrics"))).text();
  expect(metrics).toContain("holdfast");
});

test("standard health checking says SERVING of the hub and of each service, and nothing of others", async () => {
  const client = new Client(house.hub().grpcAddress, credentials.createInsecure());
  const check = (service: string) =>
    new Promise<number | { code: number }>((resolve) => {
      const name = Buffer.from(service);
      const request = Buffer.concat([Buffer.of(0x0a, name.length), name]);
      client.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        request,
        (error, response) => resolve(error ? { code: error.code } : (response?.[1] ?? 0)),
      );
    });
  const serving = 1;
  for (const service of [
    "",
    "holdfast.v1.JobService",
    "holdfast.v1.WorkerService",
    "holdfast.v1.AccessService",
  ])
    expect(await check(service), service).toBe(serving);
  expect(await check("holdfast.v1.Nothing")).toEqual({ code: 5 });
  client.close();
});

test("server reflection lists every service and hands out its files, so that grpcurl needs none", async () => {
  const client = new Client(house.hub().grpcAddress, credentials.createInsecure());
  // ServerReflectionRequest { file_containing_symbol = 4, list_services = 7 }
  const ask = (field: number, text: string) =>
    new Promise<string>((resolve, reject) => {
      const call = client.makeBidiStreamRequest(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
      );
      call.on("data", (bytes: Buffer) => {
        resolve(bytes.toString("latin1"));
        call.end();
      });
      call.on("error", reject);
      call.write(Buffer.concat([Buffer.of((field << 3) | 2, text.length), Buffer.from(text)]));
    });
  const services = await ask(7, "*");
  for (const name of ["JobService", "WorkerService", "FleetService", "EventService", "AccessService"]) {
    expect(services).toContain(`holdfast.v1.${name}`);
    expect(await ask(4, `holdfast.v1.${name}`)).toContain("holdfast/v1/");
  }
  client.close();
});

test("every answer in JSON can be read back by its schema", async () => {
  const jobId = await submitOne(house.client());
  const { method } = JobService;
  const answered = await callHttp(house.hub().httpAddress, method.get, { jobId, includeHistory: true });
  if (!("body" in answered)) throw new Error(answered.message);
  const output: DescMessage = method.get.output;
  const json = JSON.parse(Buffer.from(answered.body).toString());
  expect(toJson(output, fromJson(output, json))).toEqual(json);
});
