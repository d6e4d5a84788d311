// Publishes at a steady rate, open-loop, and follows what it publishes: how old is each signal when its follower has
// it, and when its receipt comes.
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@holdfast/worker";
import { type TimedPayload, timedPayload } from "../latency/timed-payload.js";
import { runProgram } from "../run-program.js";
import { openJetstream, type SyncInterval } from "../signals/jetstream-stream.js";
import { nowMs } from "../wall-clock.js";

export interface SignalLatencyParams {
  readonly from:
    | {
        readonly type: "holdfast";
        readonly address: string;
        readonly channel: string;
        /** The follower's name; null for one without a cursor. */
        readonly consumer: string | null;
      }
    | { readonly type: "jetstream"; readonly dataDir: string; readonly syncInterval: SyncInterval };
  readonly rate: number;
  readonly signals: number;
  /** The first so many are not measured. */
  readonly warmUpSignals: number;
  readonly payloadBytes: number;
}

export type SignalLatencySays = {
  readonly followed: {
    readonly followedAfterMs: readonly number[];
    readonly answeredAfterMs: readonly number[];
  };
};

interface Followed {
  publish(payload: Uint8Array): Promise<unknown>;
  close(): Promise<void>;
}

const tickMs = 1;

await runProgram<SignalLatencyParams, SignalLatencySays>(async (params, say, signal) => {
  const { from, rate, signals, warmUpSignals, payloadBytes } = params;
  const followedAfterMs: number[] = [];
  const answeredAfterMs: number[] = [];
  let onLast: () => void = () => undefined;
  const last = new Promise<void>((resolve) => {
    onLast = resolve;
  });
  const take = (text: string) => {
    const { sequence, sentAtMs } = JSON.parse(text) as TimedPayload;
    if (sequence >= warmUpSignals) followedAfterMs.push(nowMs() - sentAtMs);
    if (sequence === signals - 1) onLast();
  };
  const followed =
    from.type === "holdfast"
      ? await followHoldfast(from, take)
      : await followJetstream(from.dataDir, from.syncInterval, take);
  const receipts: Promise<unknown>[] = [];
  const beganAtMs = nowMs();
  for (let sequence = 0; sequence < signals; ) {
    signal.throwIfAborted();
    const due = Math.min(signals, Math.floor(((nowMs() - beganAtMs) / 1_000) * rate) + 1);
    for (; sequence < due; sequence += 1) {
      const sentAtMs = nowMs();
      const isMeasured = sequence >= warmUpSignals;
      const payload = Buffer.from(JSON.stringify(timedPayload(sequence, sentAtMs, payloadBytes)));
      receipts.push(
        followed.publish(payload).then(() => {
          if (isMeasured) answeredAfterMs.push(nowMs() - sentAtMs);
        }),
      );
    }
    await delay(tickMs);
  }
  await Promise.all([last, ...receipts]);
  say("followed", { followedAfterMs, answeredAfterMs });
  return () => followed.close();
});

async function followHoldfast(
  { address, channel, consumer }: Extract<SignalLatencyParams["from"], { type: "holdfast" }>,
  take: (text: string) => void,
): Promise<Followed> {
  const client = createClient({ address });
  const live = new Promise<void>((resolve, reject) => {
    const options = { ...(consumer !== null && { consumer }), onCaughtUp: () => resolve() };
    client.subscribe(channel, (signal) => take(signal.text()), options).done.catch(reject);
  });
  await live;
  const producer = client.producer(channel);
  return {
    publish: (payload) => producer.publish(payload),
    close: async () => client.close(),
  };
}

async function followJetstream(
  dataDir: string,
  syncInterval: SyncInterval,
  take: (text: string) => void,
): Promise<Followed> {
  const stream = await openJetstream(dataDir, syncInterval);
  const messages = await stream.follow(5_000);
  void (async () => {
    for await (const message of messages) take(message.string());
  })();
  return stream;
}
