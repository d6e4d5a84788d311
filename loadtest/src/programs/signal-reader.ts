// Restores a channel: everything that it holds, through the SDK, as a consumer with a cursor.
import { createClient } from "@holdfast/worker";
import { runProgram } from "../run-program.js";

export interface ReaderParams {
  readonly address: string;
  readonly channel: string;
  readonly signals: number;
}

export type ReaderSays = { readonly restored: { readonly elapsedMs: number; readonly read: number } };

await runProgram<ReaderParams, ReaderSays>(async ({ address, channel, signals }, say) => {
  const client = createClient({ address });
  let firstAt = 0;
  let expected = 1;
  await new Promise<void>((resolve, reject) => {
    const subscription = client.subscribe(
      channel,
      (signal) => {
        if (expected === 1) firstAt = performance.now();
        if (signal.sequence !== expected)
          reject(new Error(`${signal.sequence} came instead of ${expected}.`));
        expected += 1;
        if (expected > signals) resolve();
      },
      { consumer: "restore" },
    );
    subscription.done.catch(reject);
  });
  say("restored", { elapsedMs: performance.now() - firstAt, read: expected - 1 });
  return async () => client.close();
});
