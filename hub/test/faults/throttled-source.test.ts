import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { LimitService, LimitType } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { JobFailure, startWorker } from "@holdfast/worker";
import { expect, it } from "vitest";
import { JobState } from "../../src/domain/job-state.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, submitMany } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";

const house = useHub({ sessionTtlMs: 30_000, heartbeatIntervalMs: 2_000 });
const source = { target: { case: "source", value: "service" } } as const;
const limit = 40;
const jobs = 400;

/** A service that answers so many requests in each second of the clock, and asks all others to wait. */
async function openService() {
  const seconds: { answered: number; refused: number }[] = [{ answered: 0, refused: 0 }];
  const server = createServer((_, response) => {
    const now = seconds.at(-1) as (typeof seconds)[number];
    const isRefused = now.answered >= limit;
    now[isRefused ? "refused" : "answered"] += 1;
    if (isRefused) response.writeHead(429, { "retry-after": "1" });
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const turning = setInterval(() => seconds.push({ answered: 0, refused: 0 }), 1_000);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    seconds,
    close: () => {
      clearInterval(turning);
      server.closeAllConnections();
      server.close();
    },
  };
}

it("a bucket that adapts finds what its source bears, and no job is lost on the way", async () => {
  const service = await openService();
  const client = house.client();
  const value = {
    ratePerSecond: 200,
    capacity: 200n,
    adaptive: { floorPerSecond: 4, recovery: duration(5_000) },
  };
  await client.call(LimitService.method.set, {
    target: source,
    settings: { settings: { case: "bucket", value } },
  });
  const worker = startWorker({
    address: house.hub().grpcAddress,
    name: "caller",
    journal: false,
    handleSignals: false,
    handlers: {
      call: async () => {
        const response = await fetch(service.url);
        await response.arrayBuffer();
        if (response.status !== 429) return;
        const retryAfterMs = 1_000 * Number(response.headers.get("retry-after"));
        throw new JobFailure("HTTP_429", "The service refused.", { retryAfterMs });
      },
    },
  });
  try {
    const retry = { maxAttempts: 1_000, initialBackoff: duration(100) };
    await submitMany(
      client,
      Array.from({ length: jobs }, () => ({ kind: "call", source: "service", retry })),
    );
    const isDone = async () => {
      const [row] = await house.query<{ done: number }>(
        `select count(*)::integer as done from job where state = ${JobState.Succeeded}`,
      );
      return row?.done === jobs;
    };
    await until(isDone, "every job to be done", 50_000);
  } finally {
    await worker.stop();
    service.close();
  }
  let answered = 0;
  const settled = service.seconds.filter((second) => {
    answered += second.answered;
    return answered > jobs / 2;
  });
  const sum = (figure: "answered" | "refused") => settled.reduce((total, one) => total + one[figure], 0);
  // A bucket that did not adapt would have four of five refused; exact figures are the benchmark's.
  expect(sum("refused"), JSON.stringify(service.seconds)).toBeLessThan(0.2 * sum("answered"));
  expect(worker.stats().committed).toBeGreaterThanOrEqual(jobs);
  const { limit: found } = await client.call(LimitService.method.get, {
    target: source,
    type: LimitType.BUCKET,
  });
  expect(found?.bucket?.ratePerSecond).toBeLessThan(200);
});
