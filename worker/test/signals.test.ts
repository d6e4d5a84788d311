import { setTimeout as sleep } from "node:timers/promises";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { afterEach, expect, test } from "vitest";
import { useHub } from "../../hub/test/harness/raw-hub.js";
import { until } from "../../hub/test/harness/raw-wait.js";
import { createClient, type HoldfastClient, startWorker } from "../src/index.js";

const house = useHub();
const clients: HoldfastClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

function connect(): HoldfastClient {
  const client = createClient({ address: house.hub().grpcAddress });
  clients.push(client);
  return client;
}

test("signals are published in order, handled in order, and not again once they are done", async () => {
  const client = connect();
  const published = await Promise.all(Array.from({ length: 300 }, (_, n) => client.publish("orders", { n })));
  expect(published.map((one) => one.outcome === "stored" && one.sequence)).toEqual(
    Array.from({ length: 300 }, (_, n) => n + 1),
  );
  const seen: number[] = [];
  const first = client.subscribe("orders", (signal) => void seen.push(signal.json<{ n: number }>().n), {
    consumer: "billing",
  });
  await until(() => seen.length === 300, "every signal handled");
  await first.stop();
  await client.publish("orders", { n: 300 });
  const again: number[] = [];
  const second = client.subscribe("orders", (signal) => void again.push(signal.json<{ n: number }>().n), {
    consumer: "billing",
  });
  await until(() => again.length > 0, "the next signal");
  expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => n));
  expect(again).toEqual([300]);
  await second.stop();
});

test("a state made of signals is the same as if nothing had happened, although the hub restarts again and again", async () => {
  const client = connect();
  const add = (total: number, n: number) => total + n;
  let latest = { total: 0, signals: 0 };
  const subscription = client.subscribe<{ total: number; signals: number }>(
    "sums",
    (signal, state) => {
      latest = { total: add(state.total, signal.json<{ n: number }>().n), signals: state.signals + 1 };
      return latest;
    },
    {
      consumer: "adder",
      checkpoint: { initial: () => ({ total: 0, signals: 0 }), everySignals: 7, everyMs: 50 },
    },
  );
  const receipts: Promise<unknown>[] = [];
  for (let n = 1; n <= 200; n += 1) {
    receipts.push(client.publish("sums", { n }));
    if (n % 70 === 0) await house.restart();
    else if (n % 10 === 0) await sleep(5);
  }
  await Promise.all(receipts);
  await until(() => latest.signals === 200, "every signal counted");
  expect(latest).toEqual({ total: 20_100, signals: 200 });
  await subscription.stop();
});

test("a reducer that throws is restored from its newest checkpoint, and what it did to its state is forgotten", async () => {
  const client = connect();
  for (let n = 1; n <= 30; n += 1) await client.publish("fragile", { n });
  let throwsLeft = 2;
  let latest = { numbers: [] as number[] };
  const subscription = client.subscribe<{ numbers: number[] }>(
    "fragile",
    (signal, state) => {
      const { n } = signal.json<{ n: number }>();
      state.numbers.push(n);
      if (n === 20 && throwsLeft-- > 0) throw new Error("half-way");
      latest = state;
      return state;
    },
    { consumer: "collector", checkpoint: { initial: () => ({ numbers: [] }), everySignals: 7 } },
  );
  await until(() => latest.numbers.at(-1) === 30, "the last signal");
  expect(latest.numbers).toEqual(Array.from({ length: 30 }, (_, at) => at + 1));
  await subscription.stop();
});

test("a reducer that cannot take a signal ends the subscription with its error, and nothing is skipped", async () => {
  const client = connect();
  await client.publish("stuck", "good");
  await client.publish("stuck", "bad");
  const subscription = client.subscribe<number>(
    "stuck",
    (signal, count) => {
      if (signal.text() === "bad") throw new Error("no idea");
      return count + 1;
    },
    { consumer: "counter", checkpoint: { initial: () => 0 } },
  );
  await expect(subscription.done).rejects.toThrow("no idea");
  const seen: string[] = [];
  const after = client.subscribe("stuck", (signal) => void seen.push(signal.text()), { consumer: "counter" });
  await until(() => seen.includes("bad"), "the signal that was not skipped");
  await after.stop();
});

test("a state that JSON cannot hold ends the subscription with its error, and not the process", async () => {
  const client = connect();
  await client.publish("big", "one");
  const subscription = client.subscribe<{ count: bigint }>("big", (_, { count }) => ({ count: count + 1n }), {
    consumer: "counter",
    checkpoint: { initial: () => ({ count: 0n }), everyMs: 50 },
  });
  await expect(subscription.done).rejects.toThrow("BigInt");
  const stopped = client.subscribe<{ count: bigint }>("big", (_, { count }) => ({ count: count + 1n }), {
    consumer: "other",
    checkpoint: { initial: () => ({ count: 0n }), everyMs: 60_000 },
    onCaughtUp: () => setImmediate(() => void stopped.stop().catch(() => {})),
  });
  await expect(stopped.done).rejects.toThrow("BigInt");
});

test("members of a group share the partitions of a channel, and go on without the one that stops", async () => {
  const client = connect();
  await house
    .client()
    .call(SignalService.method.configureChannel, { channel: { name: "team" }, partitions: 4 });
  const handled = [new Set<string>(), new Set<string>()];
  const members = handled.map((own) =>
    client.subscribe("team", (signal) => void own.add(signal.text()), { consumer: "team", group: true }),
  );
  const publish = async (from: number) => {
    const keys = Array.from({ length: 100 }, (_, at) => `key ${from + at}`);
    await Promise.all(keys.map((key) => client.publish("team", key, { key })));
  };
  const all = () => new Set(handled.flatMap((own) => [...own])).size;
  await publish(0);
  await until(() => all() === 100, "every signal handled by one of them");
  await members[0]?.stop();
  await publish(100);
  await until(() => all() === 200, "every signal handled by the other");
  await members[1]?.stop();
});

test("a handler that throws gets the signal again, and in the end it is a dead letter with the reason", async () => {
  const client = connect();
  const subscription = client.subscribe(
    "letters",
    (signal) => {
      if (signal.text() === "bad") throw new Error("cannot read this");
    },
    { consumer: "reader" },
  );
  const dead: { text: string; reason: string; sequence: number }[] = [];
  const graves = client.subscribe(
    "letters.dead",
    (signal) =>
      void dead.push({
        text: signal.text(),
        reason: signal.deadLetter?.reason ?? "",
        sequence: Number(signal.deadLetter?.sequence),
      }),
    { start: "earliest" },
  );
  for (const text of ["good", "bad", "good too"]) await client.publish("letters", text);
  await until(() => dead.length === 1, "the dead letter", 40_000);
  expect(dead).toEqual([{ text: "bad", reason: "cannot read this", sequence: 2 }]);
  await subscription.stop();
  await graves.stop();
});

test("what a job publishes is stored before its result counts, also when it does not wait for it", async () => {
  const client = connect();
  const worker = startWorker({
    address: house.hub().grpcAddress,
    name: "publisher",
    handlers: {
      steps: (job) => {
        for (const step of [1, 2, 3]) void job.publish("steps", { step });
        return "done";
      },
    },
    journal: false,
    thread: false,
    handleSignals: false,
    log: () => undefined,
  });
  const { jobId } = await client.submit({ kind: "steps" });
  await client.waitFor(jobId, { timeoutMs: 30_000 });
  const steps: number[] = [];
  const subscription = client.subscribe(
    { jobId, name: "steps" },
    (signal) => void steps.push(signal.json<{ step: number }>().step),
    { consumer: "watcher" },
  );
  await until(() => steps.length === 3, "three steps");
  expect(steps).toEqual([1, 2, 3]);
  await subscription.stop();
  await worker.stop();
});

test("a consumer that another replaces ends, and says why", async () => {
  const client = connect();
  const first = client.subscribe("one", () => undefined, { consumer: "only" });
  await client.publish("one", "hello");
  const second = client.subscribe("one", () => undefined, { consumer: "only" });
  await expect(first.done).rejects.toMatchObject({ reason: "SUPERSEDED" });
  await second.stop();
});
