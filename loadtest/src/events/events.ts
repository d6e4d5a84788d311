// What it costs to forward every event into JetStream while a backlog is worked off, and how soon what fell behind
// meanwhile is out.
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsServers, startNatsServers } from "@holdfast/hub/nats-server";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineBenchmark } from "../benchmark.js";
import { payloadBytesMin } from "../job-payload.js";
import type { DrainerParams, DrainerSays } from "../programs/holdfast-drainer.js";
import type { SubmitterParams, SubmitterSays } from "../programs/holdfast-submitter.js";
import type { HubParams, HubSays } from "../programs/hub.js";
import type { Stage } from "../stage.js";
import { type Spread, spreadOf } from "../statistics.js";
import { formatCount, type Table } from "../table.js";
import { nowMs } from "../wall-clock.js";

const upWithinMs = 60_000;
const warmUpShare = 0.1;
/** Submitted, leased, succeeded. */
const eventsPerJob = 3;
const lookEveryMs = 50;

interface Heat {
  readonly hasSink: boolean;
  readonly jobsPerSecond: number;
  /** Of the sink alone: what was not out when the last verdict was committed, and how long that took. */
  readonly behindEvents: number;
  readonly behindMs: number;
}

export const events = defineBenchmark({
  name: "events",
  summary: "work off a backlog with every event forwarded into JetStream, and without",
  options: {
    jobs: { unit: "count", default: 100_000, range: [1_000, 10_000_000], help: "jobs in the backlog" },
    bytes: { unit: "count", default: 200, range: [payloadBytesMin, 65_536], help: "bytes of a payload" },
    rounds: { unit: "count", default: 3, range: [1, 100], help: "times that each is done" },
  },
  run: async (stage, { jobs, bytes, rounds }) => {
    const heats: Heat[] = [];
    for (let round = 1; round <= rounds; round += 1)
      for (const hasSink of round % 2 === 0 ? [true, false] : [false, true]) {
        const heat = await runHeat(stage, round, hasSink, jobs, bytes);
        stage.log(
          `round ${round} of ${rounds}, ${titleOf(hasSink)}: ${formatCount(heat.jobsPerSecond)} jobs/s, ${formatCount(heat.behindEvents)} events behind, out after ${seconds(heat.behindMs)} s`,
        );
        heats.push(heat);
      }
    return {
      table: eventsTable(heats),
      notes: [
        `${formatCount(jobs)} jobs, three events each. The backlog is submitted with the same hub; counted are the jobs after the first tenth, to the last verdict.`,
        "Behind: events that the stream did not hold at the last verdict; a busy hub lets forwarding have a fifth of its time. The stream has one replica, on files.",
      ],
      measured: { heats },
    };
  },
});

async function runHeat(
  stage: Stage,
  round: number,
  hasSink: boolean,
  jobs: number,
  payloadBytes: number,
): Promise<Heat> {
  const label = `events_${hasSink ? "sink" : "none"}_${round}`;
  const databaseUrl = await stage.postgres.createDatabase(label);
  const stepMsMax = 60_000 + jobs * 2;
  const nats = hasSink ? await startNatsServers({ folder: join(stage.scratchDir, label) }) : null;
  const options = nats ? { natsUrl: nats.url, eventSink: "nats" } : {};
  const hub = stage.start<HubParams, HubSays>("hub", { databaseUrl, options }, label);
  try {
    const { grpcAddress: address } = await hub.said("up", upWithinMs);
    const submit: SubmitterParams = { address, jobs, payloadBytes };
    const submitter = stage.start<SubmitterParams, SubmitterSays>("holdfast-submitter", submit, label);
    await submitter.said("submitted", stepMsMax);
    await submitter.stop();
    const warmUpJobs = Math.floor(jobs * warmUpShare);
    const drain: DrainerParams = { address, jobs, warmUpJobs, journal: false };
    const drainer = stage.start<DrainerParams, DrainerSays>("holdfast-drainer", drain, label);
    const { warmAtMs, lastVerdictAtMs } = await drainer.said("drained", stepMsMax);
    const jobsPerSecond = ((jobs - warmUpJobs) / (lastVerdictAtMs - warmAtMs)) * 1_000;
    const behind = nats ? await untilAllAreOut(nats, jobs * eventsPerJob, stepMsMax) : { events: 0, ms: 0 };
    await drainer.stop();
    return { hasSink, jobsPerSecond, behindEvents: behind.events, behindMs: behind.ms };
  } finally {
    await hub.stop();
    await nats?.stop();
    await stage.postgres.dropDatabase(label);
  }
}

/** What was still to come when it was called, and how long that took. */
async function untilAllAreOut(nats: NatsServers, eventsInAll: number, withinMs: number) {
  const connection = await connect({ servers: nats.url });
  try {
    const manager = await jetstreamManager(connection);
    const out = async () => (await manager.streams.info("holdfast_EVENTS")).state.messages;
    const startedAtMs = nowMs();
    const first = await out();
    for (let now = first; now < eventsInAll; now = await out()) {
      if (nowMs() - startedAtMs > withinMs) throw new Error(`Only ${now} of ${eventsInAll} events came out.`);
      await delay(lookEveryMs);
    }
    return { events: eventsInAll - first, ms: nowMs() - startedAtMs };
  } finally {
    await connection.close();
  }
}

function eventsTable(heats: readonly Heat[]): Table {
  const rows = [false, true].map((hasSink) => {
    const own = heats.filter((heat) => heat.hasSink === hasSink);
    return { hasSink, own, speed: spreadOf(own.map(({ jobsPerSecond }) => jobsPerSecond)) };
  });
  const first = rows[0]?.speed.median ?? 0;
  const right = { align: "right" } as const;
  return {
    columns: [
      { title: "", align: "left" },
      { title: "jobs/s, median", ...right },
      { title: "min – max", ...right },
      { title: "× first", ...right },
      { title: "events behind", ...right },
      { title: "out after, s", ...right },
      { title: "events/s then", ...right },
    ],
    rows: rows.map(({ hasSink, own, speed }) => {
      const behind = spreadOf(own.map(({ behindEvents }) => behindEvents)).median;
      const rate = spreadOf(
        own.map(({ behindEvents, behindMs }) => (behindEvents / behindMs) * 1_000),
      ).median;
      return [
        titleOf(hasSink),
        formatCount(speed.median),
        formatRange(speed),
        (speed.median / first).toFixed(2),
        hasSink ? formatCount(behind) : "–",
        hasSink ? seconds(spreadOf(own.map(({ behindMs }) => behindMs)).median) : "–",
        hasSink ? formatCount(rate) : "–",
      ];
    }),
  };
}

function titleOf(hasSink: boolean): string {
  return hasSink ? "every event into JetStream" : "no sink";
}

function formatRange({ min, max }: Spread): string {
  return `${formatCount(min)} – ${formatCount(max)}`;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
