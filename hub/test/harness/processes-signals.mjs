// A producer or a consumer of the SDK in a process of its own, to be killed. Options are the first argument, as JSON.
// What a consumer makes of the signals is in its checkpoints.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@holdfast/worker";

const { role, address, channels, ...options } = JSON.parse(process.argv[2]);
const client = createClient({ address });
await (role === "producer" ? produce(options) : consume(options));

/** Publishes numbers 1 to `signals` to each channel, at a pace; goes on where the hub says that it was. */
async function produce({ signals, perSecond }) {
  const inFlightMax = 4_000;
  let inFlight = 0;
  const lanes = await Promise.all(
    channels.map(async (channel) => {
      const producer = client.producer(channel, { name: "source" });
      return { channel, producer, next: (await producer.lastStored()) + 1 };
    }),
  );
  const beganAt = performance.now();
  let published = 0;
  while (lanes.some(({ next }) => next <= signals)) {
    const due = Math.floor(((performance.now() - beganAt) / 1_000) * perSecond);
    while (published < due && inFlight < inFlightMax) {
      const lane = lanes.reduce((least, one) => (one.next < least.next ? one : least));
      if (lane.next > signals) break;
      inFlight += 1;
      lane.producer.publish(`${lane.channel} ${lane.next}`).then(() => {
        inFlight -= 1;
      });
      lane.next += 1;
      published += 1;
    }
    await sleep(2);
  }
  await Promise.all(lanes.map(({ producer }) => producer.close()));
  console.log(JSON.stringify({ isDone: true }));
  client.close();
}

/** Makes a digest of each channel, whose order and number of signals it shows. */
async function consume({ consumer, everySignals }) {
  for (const channel of channels) {
    const subscription = client.subscribe(
      channel,
      (signal, state) => {
        const hash = createHash("sha256").update(state.digest).update(signal.payload);
        return { signals: state.signals + 1, digest: hash.digest("base64") };
      },
      {
        consumer,
        checkpoint: { initial: () => ({ signals: 0, digest: "" }), everySignals, everyMs: 200 },
        onGap: (gap) => fail(new Error(`a gap: ${JSON.stringify(gap)}`)),
      },
    );
    subscription.done.catch(fail);
  }
}

function fail(error) {
  console.error(error);
  process.exit(1);
}
