// The same beside it: JetStream with file storage, one stream, publishes with acknowledgements on their way together,
// then an ordered consumer over all of it.
import { runProgram } from "../run-program.js";
import { openJetstream, type SyncInterval } from "../signals/jetstream-stream.js";

export interface JetstreamParams {
  readonly dataDir: string;
  readonly signals: number;
  readonly payloadBytes: number;
  readonly syncInterval: SyncInterval;
}

export type JetstreamSays = {
  readonly done: { readonly publishMs: number; readonly restoreMs: number };
};

const inFlight = 16_000;

await runProgram<JetstreamParams, JetstreamSays>(async (params, say, signal) => {
  const { dataDir, signals, payloadBytes, syncInterval } = params;
  const stream = await openJetstream(dataDir, syncInterval);
  const payload = new Uint8Array(payloadBytes).fill(7);
  const waiting: Promise<unknown>[] = [];
  const publishBeganAt = performance.now();
  for (let sent = 0; sent < signals; sent += 1) {
    waiting.push(stream.publish(payload));
    if (waiting.length < inFlight) continue;
    signal.throwIfAborted();
    await Promise.all(waiting.splice(0, inFlight / 2));
  }
  await Promise.all(waiting);
  const publishMs = performance.now() - publishBeganAt;

  let read = 0;
  let firstAt = 0;
  for await (const _ of await stream.follow(5_000)) {
    if (read === 0) firstAt = performance.now();
    read += 1;
    if (read === signals) break;
  }
  say("done", { publishMs, restoreMs: performance.now() - firstAt });
  return () => stream.close();
});
