import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { expect, test } from "vitest";
import { type JobContext, resultOf } from "../src/index.js";
import { until } from "./scripted-hub.js";
import { testHub, testWorker } from "./test-worker.js";

test("the handler of a parent gets what became of its children, that of any other job nothing", async () => {
  const hub = await testHub();
  const seen: JobContext["children"][] = [];
  testWorker({ address: hub.address, handlers: { work: (job) => void seen.push(job.children) } });
  const stream = await hub.live();
  const value = { result: Buffer.from('{"found":3}'), contentType: "application/json" };
  const outcomes = [
    {
      jobId: "b",
      kind: "part",
      state: JobState.SUCCEEDED,
      outcome: { outcome: { case: "success" as const, value } },
    },
    { jobId: "c", kind: "part", state: JobState.DEAD, outcome: {} },
  ];

  stream.lease({ jobId: "a", children: { total: 2, outcomes } }, { jobId: "d" });

  await until(() => seen.length === 2, "both handlers");
  const [children, none] = seen;
  expect(children?.total).toBe(2);
  expect(children?.outcomes.map((child) => resultOf(child)?.json())).toEqual([{ found: 3 }, undefined]);
  expect(none).toBeUndefined();
});

test("the handler of a replay draws what that of the original drew", async () => {
  const hub = await testHub();
  const drawn = new Map<string, { seed: string; isReplay: boolean; numbers: number[] }>();
  const work = (job: JobContext) => {
    const seed = Buffer.from(job.seed).toString("hex");
    drawn.set(job.id, { seed, isReplay: job.isReplay, numbers: [job.random(), job.random()] });
  };
  testWorker({ address: hub.address, handlers: { work } });
  const stream = await hub.live();

  stream.lease({ jobId: "a" }, { jobId: "b", originJobId: "a" }, { jobId: "c" });

  await until(() => drawn.size === 3, "all handlers");
  expect(drawn.get("b")).toEqual({ ...drawn.get("a"), isReplay: true });
  expect(drawn.get("c")?.seed).not.toBe(drawn.get("a")?.seed);
});
