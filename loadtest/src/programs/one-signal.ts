// Publishes one signal, and says how long that took.
import { createClient } from "@holdfast/worker";
import { runProgram } from "../run-program.js";

export interface OneSignalParams {
  readonly address: string;
  readonly channel: { readonly owner: string; readonly name: string };
}

export type OneSignalSays = {
  readonly published: { readonly tookMs: number };
};

await runProgram<OneSignalParams, OneSignalSays>(async ({ address, channel }, say) => {
  const client = createClient({ address });
  // Another channel first, so that the connection is there.
  await client.publish({ ...channel, name: `${channel.name}.before` }, "hello");
  const startedAtMs = performance.now();
  await client.publish(channel, "go");
  say("published", { tookMs: performance.now() - startedAtMs });
  client.close();
  return undefined;
});
