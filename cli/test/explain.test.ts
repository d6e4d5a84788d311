import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import { JobEventType, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { afterEach, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeHub, jobNotFound, startFakeHub } from "./fake-hub.js";
import { jsonError, run } from "./run-cli.js";

let hub: FakeHub | undefined;
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
});

const id = "0198c7f0-0000-7000-8000-000000000001";

test("explain says what keeps the job, who could take it, and where it ran", async () => {
  const requests: unknown[] = [];
  hub = await startFakeHub({
    jobs: {
      explain: (request) => {
        requests.push(request);
        return {
          job: { id, kind: "order", state: JobState.READY, attempt: 1, maxAttempts: 5 },
          reasons: [
            { cause: WaitCause.NO_SESSION, message: "None of 3 live sessions can take it." },
            { cause: WaitCause.DEADLINE, message: "It ends.", until: timestampFromMs(Date.now() + 60_000) },
          ],
          position: { jobsAhead: 7, atLeast: true, lanesAhead: 2 },
          candidates: [
            {
              sessionId: "s",
              workerName: "line-3",
              writerId: 4,
              mismatches: ["does not offer capability gpu"],
            },
          ],
          sessions: 3,
          grants: [
            { workerName: "line-2", attempt: 1, end: JobEventType.RETRY_SCHEDULED, reason: "BOOM: no" },
          ],
        };
      },
    },
  });
  const text = await run(["explain", id, "--hub", hub.url]);
  const json = await run(["explain", id, "--json", "--hub", hub.url]);
  expect(text).toMatchObject({ exitCode: EXIT.ok });
  expect(text.stdout).toContain("behind 7+ jobs of its lane, and the heads of 2 other lanes");
  expect(text.stdout).toMatch(/no-session +None of 3/);
  expect(text.stdout).toMatch(/line-3 +s +4 +does not offer capability gpu/);
  expect(text.stdout).toContain("1 of 3 live sessions");
  expect(text.stdout).toMatch(/1 +line-2 .*retry-scheduled +BOOM: no/);
  expect(JSON.parse(json.stdout)).toMatchObject({ reasons: [{ cause: "WAIT_CAUSE_NO_SESSION" }, {}] });
  expect(requests).toMatchObject([{ jobId: id }, { jobId: id }]);
});

test("explain of a job that is not there has its exit code", async () => {
  hub = await startFakeHub({
    jobs: {
      explain: () => {
        throw jobNotFound();
      },
    },
  });
  const result = await run(["explain", id, "--json", "--hub", hub.url]);
  expect(result.exitCode).toBe(EXIT.notFound);
  expect(jsonError(result)).toMatchObject({ reason: "JOB_NOT_FOUND" });
});
