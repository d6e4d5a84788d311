// Publishes signals the way an application would: through the SDK, many at once, each with its receipt.
import { createClient } from "@holdfast/worker";
import { runProgram } from "../run-program.js";

export interface PublisherParams {
  readonly address: string;
  readonly channel: string;
  readonly signals: number;
  readonly payloadBytes: number;
  readonly producers: number;
}

export type PublisherSays = { readonly published: { readonly elapsedMs: number } };

/** Signals of one producer without a receipt. */
const inFlight = 4_000;

await runProgram<PublisherParams, PublisherSays>(async (params, say, signal) => {
  const { address, channel, signals, payloadBytes, producers } = params;
  const client = createClient({ address });
  const payload = new Uint8Array(payloadBytes).fill(7);
  const publishAll = async (count: number) => {
    const producer = client.producer(channel);
    const waiting: Promise<unknown>[] = [];
    for (let sent = 0; sent < count; sent += 1) {
      waiting.push(producer.publish(payload));
      if (waiting.length < inFlight) continue;
      signal.throwIfAborted();
      await Promise.all(waiting.splice(0, inFlight / 2));
    }
    await Promise.all(waiting);
    await producer.close();
  };
  await publishAll(1_000);
  const beganAt = performance.now();
  const share = Math.ceil((signals - 1_000) / producers);
  await Promise.all(Array.from({ length: producers }, () => publishAll(share)));
  say("published", { elapsedMs: performance.now() - beganAt });
  return async () => client.close();
});
