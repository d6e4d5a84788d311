import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";

const patienceMs = 1_000;

/** Ends a connection, in good order if the server takes part: one that is frozen or cut off must not keep its user. */
export async function endClient(client: pg.Client): Promise<void> {
  const ended = new AbortController();
  const late = delay(patienceMs, undefined, { signal: ended.signal }).catch(() => undefined);
  await Promise.race([client.end().catch(() => undefined), late]);
  ended.abort();
  cutOff(client);
}

export function cutOff(client: pg.Client): void {
  client.connection.stream.destroy();
}
