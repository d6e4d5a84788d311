import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeServices, jobNotFound, startFakeHub } from "./fake-hub.js";
import { PROGRAM, processesOf, spawnHoldfast } from "./holdfast-process.js";
import { run } from "./run-cli.js";

let place = "";
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "holdfast-closed-"));
});
afterAll(() => rm(place, { recursive: true }));

/** Runs a command whose reader is gone before the first word; answers its exit code. */
async function runUnread(closed: "stdout" | "stderr", services: FakeServices, ...args: string[]) {
  const hub = await startFakeHub(services);
  onTestFinished(() => hub.stop());
  const holdfast = spawnHoldfast([...args, "--hub", hub.url], { cwd: place });
  holdfast.child[closed]?.destroy();
  return { exitCode: await holdfast.ended, stderr: holdfast.stderr() };
}

const letter = { jobId: "job-1" };

test("a command that changes things, and was cut short, does not end with 0", async () => {
  const pageTokens: string[] = [];
  const retry: NonNullable<FakeServices["deadLetters"]>["retry"] = ({ pageToken }) => {
    pageTokens.push(pageToken);
    return { results: [letter], nextPageToken: "more" };
  };
  const result = await runUnread("stdout", { deadLetters: { retry } }, "dead", "retry", "--all", "--yes");
  expect(result).toEqual({ exitCode: EXIT.outputClosed, stderr: "" });
  expect(pageTokens).toEqual([""]);
});

test("nor does a batch of which some was not submitted", async () => {
  const file = join(place, "big.jsonl");
  await writeFile(file, '{"kind":"greet"}\n'.repeat(3_000));
  let submitted = 0;
  const submitBatch: NonNullable<FakeServices["jobs"]>["submitBatch"] = ({ jobs }) => {
    submitted += jobs.length;
    return { results: jobs.map(() => ({ result: { case: "accepted", value: letter } })) };
  };
  const result = await runUnread("stdout", { jobs: { submitBatch } }, "submit", "--batch", file, "--json");
  expect(submitted).toBeLessThan(3_000);
  expect(result).toEqual({ exitCode: EXIT.outputClosed, stderr: "" });
});

test("a command that was done has the code that it ends with when somebody reads", async () => {
  const submit = () => letter;
  expect(await runUnread("stdout", { jobs: { submit } }, "submit", "greet")).toMatchObject({
    exitCode: EXIT.ok,
  });
});

test("a hub stops in order when nobody reads its log any more", async () => {
  const ports = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
  const hub = spawnHoldfast(["hub", "--data-dir", join(place, "hub"), ...ports], { cwd: place });
  const [, address = ""] = await hub.says(/HTTP on (\S+)/);
  hub.child.stdout?.destroy();
  // Whatever an operator does, the hub logs that it is sealed.
  const act = await run(["limits", "pause", "tenant", "--reason", "test", "--hub", `http://${address}`]);
  expect(act.exitCode, act.stderr).toBe(EXIT.ok);
  expect(await hub.ended).toBe(EXIT.outputClosed);
  // PostgreSQL, which a hub that just ends leaves running.
  expect(await processesOf(place)).toEqual(new Map());
}, 120_000);

test("a closed stderr keeps no command from its work, and does not change its code", async () => {
  const retry = () => ({ results: [letter] });
  const done = await runUnread("stderr", { deadLetters: { retry } }, "dead", "retry", "--all", "--yes");
  const failed = await runUnread(
    "stderr",
    { jobs: { get: () => Promise.reject(jobNotFound()) } },
    "get",
    "x",
  );
  expect([done.exitCode, failed.exitCode]).toEqual([EXIT.ok, EXIT.notFound]);
});

test.skipIf(!existsSync("/dev/full"))(
  "a disk that is full fails a command whose output it does not take, in few words",
  async () => {
    const full = openSync("/dev/full", "w");
    onTestFinished(() => closeSync(full));
    const child = spawn(process.execPath, [PROGRAM, "exit-codes"], { stdio: ["ignore", full, "pipe"] });
    const [exitCode, stderr] = await Promise.all([
      once(child, "close").then(([code]) => code),
      text(child.stderr as Readable),
    ]);
    expect({ exitCode, stderr }).toEqual({ exitCode: EXIT.outputClosed, stderr: "" });
  },
);
