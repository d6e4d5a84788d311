import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { HoldfastError, startWorker } from "../src/index.js";
import { until } from "./scripted-hub.js";
import { testDirectory, testHub, testWorker } from "./test-worker.js";
import { WorkerProcess } from "./worker-process.js";

test.each([
  ["UNAUTHENTICATED", status.UNAUTHENTICATED],
  ["SCOPE_MISSING", status.PERMISSION_DENIED],
  ["KIND_NOT_ALLOWED", status.PERMISSION_DENIED],
  ["UNSUPPORTED_VERSION", status.FAILED_PRECONDITION],
  ["INVALID_FIELD", status.INVALID_ARGUMENT],
])("a hub that answers %s ends the worker with that reason", async (reason, code) => {
  const hub = await testHub({ welcome: () => undefined });
  const worker = testWorker({ address: hub.address });
  (await hub.stream(1)).fail(code, reason, { field: "kinds" });
  const error = await worker.done.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(HoldfastError);
  expect(error).toMatchObject({
    reason,
    grpcCode: code,
    metadata: { field: "kinds" },
    message: `scripted ${reason}`,
  });
  expect(worker.state()).toEqual({ name: "closed" });
  expect(hub.streams).toHaveLength(1);
});

test.each([
  ["HEARTBEAT_MISSED", status.ABORTED],
  ["SUPERSEDED", status.ABORTED],
  ["LEDGER_UNAVAILABLE", status.UNAVAILABLE],
  ["SOMETHING_NEW", status.UNKNOWN],
])("a hub that answers %s is asked again", async (reason, code) => {
  const hub = await testHub({ welcome: () => undefined });
  testWorker({ address: hub.address });
  (await hub.stream(1)).fail(code, reason);
  await hub.stream(2);
});

test("a status without the hub's details is asked again, whatever its code", async () => {
  const hub = await testHub({ welcome: () => undefined });
  testWorker({ address: hub.address });
  (await hub.stream(1)).fail(status.PERMISSION_DENIED, "");
  await hub.stream(2);
});

test("a refused worker in a process of its own fails with the reason and leaves nothing open", async () => {
  const hub = await testHub({ welcome: () => undefined });
  const worker = new WorkerProcess({ address: hub.address, journal: testDirectory() });
  (await hub.stream(1)).fail(status.UNAUTHENTICATED, "UNAUTHENTICATED");
  expect(await worker.exited()).toEqual({ code: 1, signal: null });
  expect(worker.lines).toEqual(["failed UNAUTHENTICATED"]);
});

test("wrong options are named together: each field, what it must be, and what was given", () => {
  const options = {
    address: "http://localhost:7420",
    name: "",
    handlers: { "Not A Kind": () => {}, fine: "not a function" },
    apiKey: "with space",
    concurency: 4,
    concurrency: 0,
    prefetch: 1.5,
    journal: true,
    tls: { ca: "nonsense" },
    queues: ["ok", "Not ok"],
    weights: { age: Number.NaN },
    thread: "yes",
  };
  // @ts-expect-error: what a caller in plain JavaScript may write
  const start = () => startWorker(options);
  expect(start).toThrow("startWorker: ");
  const problems: Record<string, string> = {};
  try {
    start();
  } catch (error) {
    for (const { field, rule, given } of (
      error as { problems: { field: string; rule: string; given: string }[] }
    ).problems) {
      problems[field] = `${rule} | ${given}`;
    }
  }
  expect(problems).toEqual({
    concurency: expect.stringContaining("concurrency, prefetch"),
    address: 'an address such as "127.0.0.1:7420", without a scheme | "http://localhost:7420"',
    apiKey: "printable ASCII | other characters, or none",
    tls: 'true, false or { ca: "-----BEGIN CERTIFICATE-----..." } | an object',
    name: 'a string of 1 to 128 characters | ""',
    'handlers["Not A Kind"]': expect.stringContaining("a kind of 1 to 128 characters"),
    'handlers["fine"]': 'a function | "not a function"',
    "queues[1]": expect.stringContaining('| "Not ok"'),
    weights: expect.stringContaining("each from -1000 to 1000"),
    concurrency: "a whole number from 1 to 10000 | 0",
    prefetch: "a whole number from 0 to 50000 | 1.5",
    journal: "a directory, or false | true",
    thread: 'true or false | "yes"',
  });
});

test("an application's hooks and log may throw without harm", async () => {
  const hub = await testHub();
  const events: string[] = [];
  const worker = testWorker({
    address: hub.address,
    onSession: () => {
      throw new Error("hook");
    },
    onVerdict: () => {
      throw new Error("hook");
    },
    log: ({ event, message }) => {
      events.push(`${event} ${message}`);
      throw new Error("log");
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => worker.stats().committed === 1, "the verdict");
  await until(() => events.includes("hook-failed onVerdict threw: Error: hook"), "the complaint");
});

test("an application's hooks and log may reject, or throw what has no text, without harm", async () => {
  const hub = await testHub();
  const events: string[] = [];
  const worker = testWorker({
    address: hub.address,
    onSession: async () => {
      throw new Error("late");
    },
    onVerdict: () => {
      throw Object.create(null);
    },
    log: async ({ event, message }) => {
      events.push(`${event} ${message}`);
      throw new Error("log");
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => worker.stats().committed === 1, "the verdict");
  await until(
    () => events.includes("hook-failed onVerdict threw: something that cannot be read"),
    "the complaint about a throw",
  );
  await until(() => events.includes("hook-failed onSession threw: Error: late"), "that about a rejection");
});
