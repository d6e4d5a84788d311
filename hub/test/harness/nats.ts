import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, inject } from "vitest";
import {
  type NatsServer,
  type NatsServerSettings,
  type NatsServers,
  startNatsServers,
} from "../../src/nats/nats-server.js";
import { natsPrefix } from "./nats-run.js";

/** NATS servers of a test file. They exist from `beforeAll` on. */
export interface NatsUnderTest {
  /** Of all servers, as HOLDFAST_NATS_URL takes it. */
  url(): string;
  servers(): readonly NatsServer[];
}

/** The first file of a fresh checkout may have to build the server. */
const installTimeoutMs = 600_000;

/** Starts one real nats-server, or a cluster, for a test file; whatever its tests did to it, it is gone afterwards. */
export function useNats(options: Omit<NatsServerSettings, "folder"> = {}): NatsUnderTest {
  let running: NatsServers | undefined;
  let folder = "";
  const servers = () => {
    if (!running) throw new Error("NATS is not running");
    return running;
  };

  beforeAll(async () => {
    folder = join(inject("postgresRunFolder"), `${natsPrefix}${randomUUID().slice(0, 8)}`);
    running = await startNatsServers({ folder, ...options });
  }, installTimeoutMs);

  afterAll(async () => {
    await running?.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });

  return { url: () => servers().url, servers: () => servers().servers };
}
