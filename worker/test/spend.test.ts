import { expect, test } from "vitest";
import type { JobContext } from "../src/index.js";
import { until } from "./scripted-hub.js";
import { testHub, testWorker } from "./test-worker.js";

test("what an attempt spends is said at once, all in all, and goes with its result (D18)", async () => {
  const hub = await testHub();
  let finish = () => {};
  testWorker({
    address: hub.address,
    handlers: {
      work: (job: JobContext) => {
        job.spend({ costMicroUsd: 1_500 });
        job.spend({ costMicroUsd: 500, tokens: 7 });
        return new Promise<string>((resolve) => {
          finish = () => resolve("done");
        });
      },
      free: () => "done",
    },
  });
  const stream = await hub.live();
  stream.lease({ jobId: "a" });
  await until(() => stream.all("spend").length === 2, "what was spent");
  const total = { costMicroUsd: 2_000n, tokens: 7n };
  expect(stream.all("spend")[1]?.spends).toMatchObject([{ jobId: "a", fencingToken: 1n, spend: total }]);

  finish();

  await until(() => stream.all("report").length === 1, "the result");
  expect(stream.all("report")[0]?.results).toMatchObject([{ jobId: "a", spend: total }]);
});

test.each([[{ costMicroUsd: 0.5 }], [{ tokens: -1 }], [{ costMicroUsd: Number.MAX_SAFE_INTEGER + 1 }]])(
  "%j is no spend, and fails the attempt",
  async (spent) => {
    const hub = await testHub();
    testWorker({
      address: hub.address,
      handlers: { work: (job: JobContext) => job.spend(spent) },
    });
    const stream = await hub.live();
    stream.lease({ jobId: "a" });
    await until(() => stream.all("report").length === 1, "the result");
    expect(stream.all("report")[0]?.results[0]?.outcome?.outcome.case).toBe("failure");
    expect(stream.all("spend")).toEqual([]);
  },
);
