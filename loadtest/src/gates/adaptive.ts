// Whether an adaptive bucket finds what a service bears: workers call one that refuses what is above its limit.
import { setTimeout as delay } from "node:timers/promises";
import { unfinishedInLedger, withHub } from "../drain/holdfast.js";
import type { SubmitterParams, SubmitterSays } from "../programs/holdfast-submitter.js";
import type { SourceParams, SourceSays, SourceSecond } from "../programs/source-server.js";
import type { CallerParams, CallerSays } from "../programs/source-worker.js";
import type { Stage } from "../stage.js";
import { benchSource, bucket, setGates } from "./gate-sets.js";

const stepMsMax = 120_000;
const recoveryMs = 10_000;
/** Each job is tried again until it is done: a refusal must not be the end of it. */
const retry = { maxAttempts: 1_000, initialBackoffMs: 100 };

export interface Adapted {
  /** What the service bears, requests a second. */
  readonly limit: number;
  /** Answers a second once it had settled. */
  readonly answeredPerSecond: number;
  /** Refusals among all requests once it had settled. */
  readonly refusedShare: number;
  readonly jobs: number;
  /** Jobs that were not done at the end. */
  readonly lost: number;
  readonly seconds: readonly SourceSecond[];
}

export async function measureAdaptive(
  stage: Stage,
  limit: number,
  settleSeconds: number,
  seconds: number,
  payloadBytes: number,
): Promise<Adapted> {
  const database = "adaptive";
  const databaseUrl = await stage.postgres.createDatabase(database);
  const server = stage.start<SourceParams, SourceSays>(
    "source-server",
    { requestsPerSecond: limit },
    database,
  );
  try {
    const { url } = await server.said("up", stepMsMax);
    await setGates(
      stage,
      databaseUrl,
      [bucket(5 * limit, 5 * limit, { floorPerSecond: limit / 20, recoveryMs })],
      database,
    );
    const jobs = limit * (settleSeconds + seconds);
    await withHub({ stage, label: database, databaseUrl, stepMsMax }, "drain", async (address) => {
      const params: SubmitterParams = { address, jobs, payloadBytes, source: benchSource.source, retry };
      const submitter = stage.start<SubmitterParams, SubmitterSays>("holdfast-submitter", params, database);
      await submitter.said("submitted", stepMsMax);
      await submitter.stop();
      const worker = stage.start<CallerParams, CallerSays>("source-worker", { address, url }, database);
      try {
        const longestSeconds = 3 * (settleSeconds + seconds);
        for (let waited = 0; waited < longestSeconds; waited += 1) {
          if ((await worker.said("progress", stepMsMax)).done >= jobs) break;
          await delay(1_000);
        }
        // The last verdicts are on their way.
        await delay(2_000);
      } finally {
        await worker.stop();
      }
    });
    const lost = await stage.postgres.count(database, unfinishedInLedger);
    const counted = await server.said("seconds", stepMsMax);
    const first = counted.findIndex(({ answered }) => answered > 0);
    const settled = counted.slice(first + settleSeconds, first + settleSeconds + Math.floor(seconds * 0.9));
    const sum = (figure: keyof SourceSecond) => settled.reduce((total, one) => total + one[figure], 0);
    const [answered, refused] = [sum("answered"), sum("refused")];
    return {
      limit,
      answeredPerSecond: answered / settled.length,
      refusedShare: refused / (answered + refused),
      jobs,
      lost,
      seconds: counted,
    };
  } finally {
    await server.stop();
    await stage.postgres.dropDatabase(database);
  }
}
