// What is no message at all: refused with ErrorInfo in every format in which a call can come, on either port.
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { EventService } from "@holdfast/gen/holdfast/v1/event_service_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { JobService, SubmitRequestSchema } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { absent, idle, useWitnessedHub } from "../harness/bad-calls.js";
import { openRawClient, type RawClient } from "../harness/raw-client.js";
import { callEnveloped, callHttp } from "../harness/raw-http.js";

const house = useWitnessedHub();
const http = () => house.hub().httpAddress;
let grpcOverHttp: RawClient;
beforeAll(() => {
  grpcOverHttp = openRawClient(http());
});
afterAll(() => grpcOverHttp.close());

/** Field 1, length-delimited, of 100 bytes that do not follow. */
const truncated = Uint8Array.of(0x0a, 100, 1, 2, 3);
const refused = { code: 3, reason: "INVALID_FIELD", domain: "holdfast", metadata: { field: "(message)" } };
const { submit, watch } = JobService.method;

describe("bytes that are no message are refused on both ports", () => {
  const unary = [JobService, WorkerService, FleetService, EventService, AccessService].flatMap((service) =>
    service.methods.filter((method) => method.methodKind === "unary"),
  );
  for (const method of unary)
    test(`${method.parent.name}.${method.name}`, async () => {
      await house.changesNothing(async () => {
        expect(await house.client().refusedBytes(method, truncated)).toMatchObject(refused);
        expect(await grpcOverHttp.refusedBytes(method, truncated)).toMatchObject(refused);
        expect(await callHttp(http(), method, truncated)).toMatchObject(refused);
        expect(await callEnveloped(http(), method, "grpc-web+proto", truncated)).toMatchObject(refused);
      });
    });

  test("JobService.Watch", async () => {
    await house.changesNothing(async () => {
      expect(await house.client().refusedBytes(watch, truncated)).toMatchObject(refused);
      expect(await grpcOverHttp.refusedBytes(watch, truncated)).toMatchObject(refused);
      expect(await callEnveloped(http(), watch, "connect+proto", truncated)).toMatchObject(refused);
      expect(await callEnveloped(http(), watch, "grpc-web+proto", truncated)).toMatchObject(refused);
    });
  });

  for (const [title, open] of [
    ["gRPC port", () => house.client()],
    ["HTTP port", () => grpcOverHttp],
  ] as const)
    test(`WorkerService.Attach on the ${title}, as the first message and after it`, async () => {
      await house.changesNothing(async () => {
        const stream = open().attach();
        stream.sendBytes(truncated);
        expect(await stream.ended).toMatchObject(refused);
      });
      const attached = open().attach();
      attached.send({ case: "hello", value: idle });
      await attached.next("welcome");
      attached.sendBytes(truncated);
      expect(await attached.ended).toMatchObject(refused);
    });
});

describe("JSON that is no message is refused with what is wrong with it", () => {
  for (const [title, body, what] of [
    ["a field of the wrong type", { job: { kind: 5 } }, /kind/],
    ["a field that there is not", { jobs: [] }, /jobs/],
    ["a name that no enum has", { job: { kind: "work", priority: "PRIORITY_URGENT" } }, /Priority/],
    ["text that is no text", { job: { kind: "work", contentType: "\ud800" } }, /content_type/],
    ["an array", [], /SubmitRequest/],
  ] as const)
    test(title, async () => {
      const failure = await house.changesNothing(() => callHttp(http(), submit, body));

      expect(failure).toMatchObject(refused);
      expect(failure).toMatchObject({ message: expect.stringMatching(what) });
    });

  test("what is no JSON either", async () => {
    const failure = await callHttp(http(), submit, Buffer.from('{"job":'), {
      "content-type": "application/json",
    });

    expect(failure).toMatchObject(refused);
  });
});

test("text that is not UTF-8 is refused, and never altered", async () => {
  // SubmitRequest { job { kind: a lone surrogate } }, and the same as the value of a label.
  const kind = Uint8Array.of(0x0a, 5, 0x0a, 3, 0xed, 0xa0, 0x80);
  const label = Uint8Array.of(0x0a, 13, 0x0a, 1, 0x61, 0x3a, 8, 0x0a, 1, 0x6b, 0x12, 3, 0xed, 0xa0, 0x80);
  for (const bytes of [kind, label])
    await house.changesNothing(async () => {
      expect(await house.client().refusedBytes(submit, bytes)).toMatchObject(refused);
      expect(await callHttp(http(), submit, bytes)).toMatchObject(refused);
    });
});

test("a call that is refused for another reason keeps that reason, in every format", async () => {
  const noJob = { code: 5, reason: "JOB_NOT_FOUND" };
  const request = toBinary(watch.input, create(watch.input, { targets: [{ jobId: absent }] }));
  expect(await callEnveloped(http(), watch, "connect+proto", request)).toMatchObject(noJob);
  expect(await callEnveloped(http(), watch, "grpc-web+proto", request)).toMatchObject(noJob);
  expect(await grpcOverHttp.refusedBytes(watch, request)).toMatchObject(noJob);
  const empty = toBinary(SubmitRequestSchema, create(SubmitRequestSchema, {}));
  expect(await callEnveloped(http(), submit, "grpc-web+proto", empty)).toMatchObject({
    reason: "INVALID_FIELD",
    metadata: { field: "job" },
  });
  const unknownEncoding = { "content-encoding": "rot13" };
  expect(await callHttp(http(), submit, truncated, unknownEncoding)).toMatchObject({ code: 12 });
});

test("a worker that goes away without a word is no defect of the hub", async () => {
  const abort = new AbortController();
  const worker = createClient(WorkerService, createGrpcTransport({ baseUrl: `http://${http()}` }));
  const seen: (string | undefined)[] = [];
  const attached = (async () => {
    async function* hello() {
      yield { message: { case: "hello" as const, value: idle } };
      await new Promise(() => undefined);
    }
    for await (const { message } of worker.attach(hello(), { signal: abort.signal })) {
      seen.push(message.case);
      abort.abort();
    }
  })();

  await expect(attached).rejects.toThrow();
  expect(seen).toEqual(["welcome"]);
  expect(house.lines.filter((line) => line.startsWith("error:"))).toEqual([]);
});
