// What a channel takes and gives back: signals published with a receipt each, durable, and then all of them restored to
// a consumer; and how soon a live follower has what is published. Beside JetStream with file storage; the contestants
// take turns.
import { join } from "node:path";
import { defineBenchmark } from "../benchmark.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { JetstreamParams, JetstreamSays } from "../programs/jetstream-signals.js";
import type { SignalLatencyParams, SignalLatencySays } from "../programs/signal-latency.js";
import type { PublisherParams, PublisherSays } from "../programs/signal-publisher.js";
import type { ReaderParams, ReaderSays } from "../programs/signal-reader.js";
import type { Stage } from "../stage.js";
import type { SyncInterval } from "./jetstream-stream.js";
import { type Contestant, heatLine, type SignalHeat, signalsTable } from "./signals-table.js";

const upWithinMs = 60_000;
const warmUpSeconds = 3;

const notes = [
  "Published: from the first publish to the last receipt. Restored: from the first signal in the hands of the consumer to the last. Followed: from a publish to the handler of a live follower in the same process, which keeps no place. Consumed: the same with a durable cursor.",
  "What an acknowledgement outlives: a killed server (SIGKILL), or also a machine that loses power, given a disk that flushes when it is told to. Holdfast commits each signal in PostgreSQL with synchronous_commit=on before its receipt. JetStream acknowledges what it has written and flushes it every two minutes by default; with sync_interval always it flushes before each acknowledgement, and publishes and is offered a tenth as many signals here.",
  "Holdfast restores to a consumer with a cursor: signals are noted as delivered, durably, before they are sent, and acknowledged. JetStream's ordered consumer keeps no place and acknowledges nothing.",
];

export const signals = defineBenchmark({
  name: "signals",
  summary: "publish, restore and follow signals, beside JetStream with file storage",
  options: {
    signals: { unit: "count", default: 300_000, range: [10_000, 10_000_000], help: "signals published" },
    bytes: { unit: "count", default: 200, range: [100, 65_536], help: "bytes of a payload" },
    producers: { unit: "count", default: 4, range: [1, 64], help: "producers, in one process" },
    rate: { unit: "per second", default: 1_000, range: [1, 20_000], help: "signals offered to a follower" },
    seconds: {
      unit: "seconds",
      default: 10,
      range: [1, 3_600],
      help: `followed, after ${warmUpSeconds} s of warm-up`,
    },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each contestant runs" },
  },
  run: async (stage, options) => {
    const heats: SignalHeat[] = [];
    for (let round = 1; round <= options.rounds; round += 1) {
      const note = (heat: SignalHeat) => {
        heats.push(heat);
        stage.log(`round ${round} of ${options.rounds}: ${heatLine(heat)}`);
      };
      note(await runHoldfast(stage, round, options));
      note(await runJetstream(stage, round, "jetstream", options));
      note(await runJetstream(stage, round, "jetstream, sync always", options));
    }
    return { table: signalsTable(heats), notes, measured: { heats } };
  },
});

interface Options {
  readonly signals: number;
  readonly bytes: number;
  readonly producers: number;
  readonly rate: number;
  readonly seconds: number;
}

async function runHoldfast(stage: Stage, round: number, options: Options): Promise<SignalHeat> {
  const { producers, bytes: payloadBytes } = options;
  // What all producers publish, the signals that warm them up included.
  const total = 1_000 + Math.ceil((options.signals - 1_000) / producers) * producers;
  const database = `signals_${round}`;
  const databaseUrl = await stage.postgres.createDatabase(database);
  const stepMsMax = 60_000 + total;
  const hub = stage.start<HubParams, HubSays>("hub", { databaseUrl }, database);
  try {
    const { grpcAddress: address } = await hub.said("up", upWithinMs);
    const channel = "bench";
    const publish: PublisherParams = { address, channel, signals: options.signals, payloadBytes, producers };
    const publisher = stage.start<PublisherParams, PublisherSays>("signal-publisher", publish, database);
    const published = await publisher.said("published", stepMsMax);
    await publisher.stop();
    const read: ReaderParams = { address, channel, signals: total };
    const reader = stage.start<ReaderParams, ReaderSays>("signal-reader", read, database);
    const restored = await reader.said("restored", stepMsMax);
    await reader.stop();
    const followed = { type: "holdfast", address, channel: "followed", consumer: null } as const;
    const consumed = { ...followed, channel: "consumed", consumer: "consumer" } as const;
    return {
      contestant: "holdfast",
      publishedPerSecond: ((total - 1_000) / published.elapsedMs) * 1_000,
      restoredPerSecond: (restored.read / restored.elapsedMs) * 1_000,
      ...(await follow(stage, database, followed, options)),
      consumedAfterMs: (await follow(stage, database, consumed, options)).followedAfterMs,
    };
  } finally {
    await hub.stop();
    await stage.postgres.dropDatabase(database);
  }
}

async function runJetstream(
  stage: Stage,
  round: number,
  contestant: Exclude<Contestant, "holdfast">,
  options: Options,
): Promise<SignalHeat> {
  const isSyncAlways = contestant === "jetstream, sync always";
  const syncInterval: SyncInterval = isSyncAlways ? "always" : "2m";
  const label = `jetstream_${syncInterval}_${round}`;
  const share = isSyncAlways ? 0.1 : 1;
  const signalsHere = options.signals * share;
  const dataDir = join(stage.scratchDir, label);
  const params: JetstreamParams = {
    dataDir,
    signals: signalsHere,
    payloadBytes: options.bytes,
    syncInterval,
  };
  const program = stage.start<JetstreamParams, JetstreamSays>("jetstream-signals", params, label);
  try {
    const { publishMs, restoreMs } = await program.said("done", 120_000 + options.signals);
    await program.stop();
    const from = { type: "jetstream", dataDir: `${dataDir}_followed`, syncInterval } as const;
    return {
      contestant,
      publishedPerSecond: (signalsHere / publishMs) * 1_000,
      restoredPerSecond: (signalsHere / restoreMs) * 1_000,
      ...(await follow(stage, label, from, { ...options, rate: Math.ceil(options.rate * share) })),
      consumedAfterMs: [],
    };
  } finally {
    await program.stop();
  }
}

async function follow(
  stage: Stage,
  label: string,
  from: SignalLatencyParams["from"],
  { rate, seconds, bytes: payloadBytes }: Options,
) {
  const warmUpSignals = rate * warmUpSeconds;
  const signalsInAll = warmUpSignals + rate * seconds;
  const params: SignalLatencyParams = { from, rate, signals: signalsInAll, warmUpSignals, payloadBytes };
  const program = stage.start<SignalLatencyParams, SignalLatencySays>("signal-latency", params, label);
  try {
    return await program.said("followed", 60_000 + (warmUpSeconds + seconds) * 3_000);
  } finally {
    await program.stop();
  }
}
