import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { JobNoteType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { afterEach, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeHub, startFakeHub } from "./fake-hub.js";
import { run } from "./run-cli.js";

let hub: FakeHub | undefined;
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
});

const id = "0198c7f0-0000-7000-8000-000000000001";

test("get shows what a suspended job waits for, since when and until when, and the signals of its channels", async () => {
  const hour = 3_600_000;
  hub = await startFakeHub({
    jobs: {
      get: () => ({
        job: {
          id,
          kind: "purchase",
          state: JobState.PARKED,
          maxAttempts: 5,
          awaits: {
            owner: id,
            channel: "approval",
            after: 2n,
            since: timestampFromMs(Date.now() - hour),
            timeoutAt: timestampFromMs(Date.now() + hour),
          },
        },
        notes: [
          {
            number: 7n,
            type: JobNoteType.SIGNALS_PUBLISHED,
            name: "log",
            bytes: 90,
            signals: 3,
            producer: "p",
          },
        ],
      }),
    },
  });
  const { stdout, exitCode } = await run(["get", id, "--notes", "--hub", hub.url]);
  expect(exitCode).toBe(EXIT.ok);
  expect(stdout).toMatch(/waits for +a signal after 2 on approval\n/);
  expect(stdout).toMatch(/waits since .*ago/);
  expect(stdout).toMatch(/waits until .*in /);
  expect(stdout).toMatch(/5-7 .*signals-published +log +90/);
});
