// Readings of a press, and what a dashboard makes of them. Run it twice: both go on where they were, as they would
// after a crash. Needs a hub on this machine:
//
//   npx holdfast hub            # in one terminal
//   node examples/signals.mjs   # in another, after npm run build
//
// The explanation is in docs/signals.md.
import { createClient } from "@holdfast/worker";

const client = createClient({ address: process.env.HOLDFAST_ADDRESS ?? "127.0.0.1:7420" });
const channel = { owner: "press-3", name: "heat" };
const readings = 1_000;

// The producer has a name, so the hub can tell how many of its readings are stored.
const producer = client.producer(channel, { name: "sensor" });
const stored = await producer.lastStored();
await Promise.all(
  Array.from({ length: readings }, (_, at) => producer.publish({ celsius: 40 + ((stored + at) % 37) })),
);
console.log(`published readings ${stored + 1} to ${stored + readings}`);

// The consumer has one too: its state is saved with its place, and a new process gets both.
let first;
let state;
const dashboard = client.subscribe(
  channel,
  (signal, before) => {
    first ??= signal.sequence;
    state = { readings: before.readings + 1, warmest: Math.max(before.warmest, signal.json().celsius) };
    return state;
  },
  {
    consumer: "dashboard",
    checkpoint: { initial: () => ({ readings: 0, warmest: 0 }) },
    onCaughtUp: () => finish(),
  },
);

async function finish() {
  await dashboard.stop();
  console.log(`the dashboard went on at signal ${first}`);
  console.log(state);
  console.log("See it all: npx holdfast cursors ls press-3/heat");
  await producer.close();
  client.close();
}
await dashboard.done;
