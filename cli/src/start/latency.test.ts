import { create } from "@bufbuild/protobuf";
import { JobSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { percentile, submitToStart } from "./latency.js";

test.each([
  { percent: 50, of: [1], is: 1 },
  { percent: 50, of: [1, 2, 3, 4], is: 2 },
  { percent: 99, of: [1, 2, 3, 4], is: 4 },
  { percent: 99, of: Array.from({ length: 200 }, (_, index) => index + 1), is: 198 },
])("p$percent is the nearest rank", ({ percent, of, is }) => {
  expect(percentile(of, percent)).toBe(is);
});

test("latencies are measured to the microsecond, over the jobs that started", () => {
  const job = (startNanos: number) =>
    create(JobSchema, {
      submittedAt: { seconds: 10n, nanos: 999_900_000 },
      startedAt: { seconds: 11n, nanos: startNanos },
    });
  const waiting = create(JobSchema, { submittedAt: { seconds: 10n, nanos: 0 } });
  expect(submitToStart([job(150_000), job(900_000), waiting])).toEqual({ p50Ms: 0.25, p99Ms: 1 });
  expect(submitToStart([waiting])).toBeUndefined();
});
