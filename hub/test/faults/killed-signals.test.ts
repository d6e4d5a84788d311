import { createHash } from "node:crypto";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { startOwnPostgres } from "../harness/postgres.js";
import { freeAddress, startHubProcess, startSignalProcess, type TestProcess } from "../harness/processes.js";
import { until } from "../harness/raw-wait.js";

/** Signals in all; a longer run: HOLDFAST_TEST_SIGNALS=200000. */
const signals = Number(process.env.HOLDFAST_TEST_SIGNALS ?? 20_000);
const channels = Array.from({ length: 8 }, (_, at) => `channel-${at}`);
const perChannel = signals / channels.length;
const consumers = ["one", "two", "three"];
/** One is killed whenever another such part is stored. */
const kills = 12;
const perSecond = Math.max(2_000, signals / 20);
const limitMs = 150_000 + signals;

test(
  "every consumer's digest is the oracle's although producer, hub and consumers are killed in rotation (D11 to D14)",
  async () => {
    const house = await openHouse();
    const order = ["producer", "hub", ...consumers.slice(0, 1), "producer", "hub", ...consumers.slice(1)];
    for (let kill = 1; kill <= kills; kill += 1) {
      await until(
        async () => (await house.stored()) >= (signals * kill) / (kills + 1),
        `part ${kill}`,
        limitMs,
      );
      await house.killAndRestart(order[kill % order.length] as string);
    }
    const oracle = Object.fromEntries(channels.map((channel) => [channel, digestOf(channel)]));
    for (const consumer of consumers) {
      await until(
        async () => (await house.signalsIn(consumer)) >= signals,
        `every signal in the states of ${consumer}`,
        limitMs,
      );
      expect(await house.states(consumer)).toEqual(oracle);
    }
    expect(await house.breaks()).toEqual([]);
    expect(await house.stored()).toBe(signals);
  },
  limitMs * 3,
);

interface Digest {
  readonly signals: number;
  readonly digest: string;
}

function digestOf(channel: string): Digest {
  let digest = "";
  for (let number = 1; number <= perChannel; number += 1)
    digest = createHash("sha256").update(digest).update(`${channel} ${number}`).digest("base64");
  return { signals: perChannel, digest };
}

async function openHouse() {
  const postgres = await startOwnPostgres();
  onTestFinished(() => postgres.stop());
  const address = await freeAddress();
  const starts: Record<string, () => TestProcess | Promise<TestProcess>> = {
    hub: () => startHubProcess({ databaseUrl: postgres.url, grpcListen: address, sessionTtlMs: 3_000 }),
    producer: () =>
      startSignalProcess({ role: "producer", address, channels, signals: perChannel, perSecond }),
  };
  for (const [at, consumer] of consumers.entries())
    starts[consumer] = () =>
      startSignalProcess({ role: "consumer", address, channels, consumer, everySignals: 50 * 4 ** at });
  const running = new Map<string, TestProcess>();
  const start = async (name: string) => running.set(name, await (starts[name] as () => TestProcess)());
  for (const name of Object.keys(starts)) await start(name);
  const process = (name: string) => running.get(name) as TestProcess;
  const query = async <Row extends pg.QueryResultRow>(text: string): Promise<Row[]> => {
    const client = new pg.Client({ connectionString: postgres.url, options: "-c search_path=holdfast" });
    await client.connect();
    return (await client.query<Row>(text).finally(() => client.end())).rows;
  };
  /** Newest checkpoints by channel: what a consumer that were killed now would go on from. */
  const states = async (consumer: string): Promise<Record<string, Digest>> => {
    const rows = await query<{ name: string; state: Digest }>(
      `select name, convert_from(state, 'UTF8')::jsonb as state
       from signal_checkpoint join signal_cursor using (cursor_id) join channel using (channel_id)
       where consumer = '${consumer}'`,
    );
    return Object.fromEntries(rows.map(({ name, state }) => [name, state]));
  };
  return {
    async killAndRestart(name: string) {
      process(name).kill("SIGKILL");
      await process(name).exited();
      await start(name);
    },
    states,
    signalsIn: async (consumer: string) =>
      Object.values(await states(consumer)).reduce((sum, state) => sum + state.signals, 0),
    async stored() {
      const [row] = await query<{ stored: number }>(
        "select coalesce(sum(last_sequence), 0)::integer as stored from channel_partition",
      );
      return row?.stored ?? 0;
    },
    /** Pages that do not begin where the one before them ends. */
    breaks: () =>
      query(`select * from (select channel_id, partition, first_sequence,
        coalesce(lag(last_sequence) over (partition by channel_id, partition order by first_sequence), 0) as before
        from signal_page) p where first_sequence <> before + 1`),
  };
}
