import { expect, test } from "vitest";
import { UsageError } from "../options.js";
import { readHarnessSettings } from "./settings.js";

const DATABASE_URL = "postgres://bench@127.0.0.1/bench";

test("what is not set, or empty, has the default of the harness", () => {
  expect(readHarnessSettings({ DATABASE_URL, PRODUCER_RATE: "" })).toEqual({
    databaseUrl: DATABASE_URL,
    mode: "fixed",
    ratePerSecond: 800,
    batchMax: 128,
    batchMs: 25,
    targetDepth: 1_000,
    workers: 32,
    payloadBytes: 256,
    workMs: 1,
    sampleEverySeconds: 5,
  });
});

test("what is set wins", () => {
  const settings = readHarnessSettings({ DATABASE_URL, PRODUCER_MODE: "depth-target", TARGET_DEPTH: "4000" });
  expect(settings).toMatchObject({ mode: "depth-target", targetDepth: 4_000 });
});

test.each([
  [{}, "DATABASE_URL"],
  [{ DATABASE_URL, PRODUCER_MODE: "burst" }, '"fixed" or "depth-target", not "burst"'],
  [{ DATABASE_URL, PRODUCER_RATE: "-1" }, "PRODUCER_RATE must be a whole number from 0"],
  [{ DATABASE_URL, PRODUCER_BATCH_MAX: "10001" }, "from 1 to 10000"],
  [{ DATABASE_URL, SAMPLE_EVERY_S: "0.5" }, "SAMPLE_EVERY_S"],
  [{ DATABASE_URL, WORKER_COUNT: "many" }, "WORKER_COUNT"],
])("%o is refused, never silently defaulted", (env, message) => {
  expect(() => readHarnessSettings(env)).toThrow(UsageError);
  expect(() => readHarnessSettings(env)).toThrow(message);
});

test("a payload is never too small for the time that it carries", () => {
  expect(readHarnessSettings({ DATABASE_URL, JOB_PAYLOAD_BYTES: "1" }).payloadBytes).toBe(100);
});
