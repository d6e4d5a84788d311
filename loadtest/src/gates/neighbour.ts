// What a source that is throttled costs its neighbours: how long free jobs wait for their start, without others and behind
// a backlog of jobs whose source lets few start.
import { join } from "node:path";
import { withHub } from "../drain/holdfast.js";
import type { SubmitterParams, SubmitterSays } from "../programs/holdfast-submitter.js";
import type { OfferParams, OfferSays } from "../programs/latency-producer.js";
import type { StarterParams, StarterSays } from "../programs/latency-worker.js";
import type { Stage } from "../stage.js";
import { type Latencies, latenciesOf } from "../statistics.js";
import { formatMs } from "../table.js";
import { benchSource, bucket, setGates } from "./gate-sets.js";

const throttledKind = "throttled";
const throttledRate = 100;
const freeRate = 200;
const warmUpJobs = 200;
const stepMsMax = 180_000;

export interface NeighbourRound {
  readonly alone: Latencies;
  readonly behind: Latencies;
}

export async function measureNeighbour(
  stage: Stage,
  throttledJobs: number,
  freeJobs: number,
  payloadBytes: number,
  rounds: number,
): Promise<readonly NeighbourRound[]> {
  const found: NeighbourRound[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const runs = { alone: 0, behind: throttledJobs };
    const measured: Partial<Record<keyof typeof runs, Latencies>> = {};
    const names = ["alone", "behind"] as const;
    for (const name of round % 2 === 1 ? names : names.toReversed())
      measured[name] = await startsOf(
        stage,
        runs[name],
        freeJobs,
        payloadBytes,
        `neighbour_${name}_${round}`,
      );
    const one = measured as NeighbourRound;
    stage.log(
      `round ${round} of ${rounds}: p99 ${formatMs(one.alone.p99)} alone, ${formatMs(one.behind.p99)} behind`,
    );
    found.push(one);
  }
  return found;
}

async function startsOf(
  stage: Stage,
  throttledJobs: number,
  freeJobs: number,
  payloadBytes: number,
  database: string,
): Promise<Latencies> {
  const databaseUrl = await stage.postgres.createDatabase(database);
  try {
    await setGates(stage, databaseUrl, [bucket(throttledRate, throttledRate, null)], database);
    return await withHub({ stage, label: database, databaseUrl, stepMsMax }, "drain", async (address) => {
      const jobs = warmUpJobs + freeJobs;
      const watch: StarterParams = {
        address,
        journal: join(stage.scratchDir, "journals", database),
        jobs,
        warmUpJobs,
        otherKind: throttledKind,
      };
      const worker = stage.start<StarterParams, StarterSays>("latency-worker", watch, database);
      try {
        await worker.said("attached", stepMsMax);
        await submitThrottled(stage, address, throttledJobs, payloadBytes, database);
        const offer: OfferParams = { address, databaseUrl, rate: freeRate, jobs, warmUpJobs, payloadBytes };
        const offering = stage.start<OfferParams, OfferSays>("latency-producer", offer, database);
        try {
          await offering.said("offered", stepMsMax);
          return latenciesOf((await worker.said("started", stepMsMax)).startedAfterMs);
        } finally {
          await offering.stop();
        }
      } finally {
        await worker.stop();
      }
    });
  } finally {
    await stage.postgres.dropDatabase(database);
  }
}

async function submitThrottled(
  stage: Stage,
  address: string,
  jobs: number,
  payloadBytes: number,
  label: string,
): Promise<void> {
  if (jobs === 0) return;
  const { source } = benchSource;
  const params: SubmitterParams = { address, jobs, payloadBytes, kind: throttledKind, source };
  const submitter = stage.start<SubmitterParams, SubmitterSays>("holdfast-submitter", params, label);
  try {
    await submitter.said("submitted", stepMsMax);
  } finally {
    await submitter.stop();
  }
}
