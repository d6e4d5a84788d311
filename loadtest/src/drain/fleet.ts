// Holdfast with its lanes on JetStream: what NATS in the path costs, and what a second hub on the same machine does.
import { join } from "node:path";
import { type NatsServers, startNatsServers } from "@holdfast/hub/nats-server";
import type { FleetDrainerParams, FleetDrainerSays, Step } from "../programs/fleet-drainer.js";
import type { SubmitterParams, SubmitterSays } from "../programs/holdfast-submitter.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { Program } from "../start-program.js";
import type { Contestant, DrainMarks, Heat } from "./contestant.js";
import { unfinishedInLedger } from "./holdfast.js";

/** A worker that got nothing for so long has seen the end. */
const idleMs = 1_500;

export const fleetContestants: readonly Contestant[] = [
  fleetContestant("holdfast-memory", "Holdfast, 1 hub, lanes in memory", {
    hubs: 1,
    workers: 1,
    hasNats: false,
  }),
  fleetContestant("holdfast-nats", "Holdfast, 1 hub, lanes on JetStream", {
    hubs: 1,
    workers: 1,
    hasNats: true,
  }),
  fleetContestant("holdfast-two-workers", "Holdfast, 1 hub, JetStream, 2 workers", {
    hubs: 1,
    workers: 2,
    hasNats: true,
  }),
  fleetContestant("holdfast-two-hubs", "Holdfast, 2 hubs, JetStream, a worker each", {
    hubs: 2,
    workers: 2,
    hasNats: true,
  }),
];

interface Fleet {
  readonly hubs: number;
  readonly workers: number;
  readonly hasNats: boolean;
}

function fleetContestant(name: string, title: string, fleet: Fleet): Contestant {
  return {
    name,
    title,
    role: "holdfast",
    settings: { ...fleet, journal: false },
    preload: (heat) =>
      withHubs(heat, { ...fleet, hubs: 1 }, "preload", async ([address]) => {
        const submitter = heat.stage.start<SubmitterParams, SubmitterSays>(
          "holdfast-submitter",
          { address: address as string, jobs: heat.jobs, payloadBytes: heat.payloadBytes },
          `${heat.label}-preload`,
        );
        try {
          await submitter.said("submitted", heat.stepMsMax);
        } finally {
          await submitter.stop();
        }
      }),
    drain: (heat, drained) =>
      withHubs(heat, fleet, "drain", async (addresses) => {
        const workers = Array.from({ length: fleet.workers }, (_, at) =>
          heat.stage.start<FleetDrainerParams, FleetDrainerSays>(
            "fleet-drainer",
            { address: addresses[at % addresses.length] as string, idleMs },
            `${heat.label}-${at + 1}`,
          ),
        );
        try {
          const said = await Promise.all(workers.map((worker) => worker.said("drained", heat.stepMsMax)));
          await drained(
            marksOf(
              said.map(({ steps }) => steps),
              heat.warmUpJobs,
            ),
          );
        } finally {
          await Promise.all(workers.map((worker) => worker.stop()));
        }
      }),
    unfinishedQuery: unfinishedInLedger,
  };
}

/** The backlog is warm when that many verdicts are known, whichever workers had them. */
function marksOf(workers: readonly (readonly Step[])[], warmUpJobs: number): DrainMarks {
  const steps = workers.flat().sort((one, other) => one.atMs - other.atMs);
  let verdicts = 0;
  const warm = steps.find((step) => {
    verdicts += step.verdicts;
    return verdicts >= warmUpJobs;
  });
  const last = steps.at(-1);
  if (!warm || !last) throw new Error("The workers committed less than what warms up.");
  return { warmAtMs: warm.atMs, lastVerdictAtMs: last.atMs };
}

/** NATS keeps what waits in it from the preload to the drain. */
async function withHubs(
  heat: Heat,
  { hubs: count, hasNats }: Fleet,
  step: "preload" | "drain",
  act: (addresses: readonly string[]) => Promise<void>,
): Promise<void> {
  const { stage, label, databaseUrl, stepMsMax } = heat;
  const nats: NatsServers | null = hasNats
    ? await startNatsServers({ folder: join(stage.scratchDir, "nats", label) })
    : null;
  const hubs: Program<HubSays>[] = [];
  try {
    for (let at = 1; at <= count; at += 1) {
      const params: HubParams = { databaseUrl, ...(nats && { options: { natsUrl: nats.url } }) };
      hubs.push(stage.start<HubParams, HubSays>("hub", params, `${label}-${step}-hub-${at}`));
    }
    const up = await Promise.all(hubs.map((hub) => hub.said("up", stepMsMax)));
    await act(up.map(({ grpcAddress }) => grpcAddress));
  } finally {
    await Promise.all(hubs.map((hub) => hub.stop()));
    await nats?.stop();
  }
}
