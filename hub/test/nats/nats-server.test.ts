import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { describe, expect, it, vi } from "vitest";
import type { NatsServer } from "../../src/nats/nats-server.js";
import { findNatsServer } from "../../src/nats/nats-server-binary.js";
import { useNats } from "../harness/nats.js";

const nats = useNats({ serversCount: 3, syncInterval: "always" });

async function streamsOf(servers: string, make?: string): Promise<string[]> {
  const connection = await connect({ servers: servers.split(",") });
  try {
    const manager = await jetstreamManager(connection);
    if (make) await manager.streams.add({ name: make, subjects: [make], num_replicas: 3 });
    return (await manager.streams.names().next()) as string[];
  } finally {
    await connection.close();
  }
}

describe("the servers that tests and a fleet on one machine run", () => {
  it("are found by several who look at once, as one binary", async () => {
    const paths = await Promise.all([findNatsServer(), findNatsServer(), findNatsServer()]);

    expect(new Set(paths).size).toBe(1);
  });

  it("form a cluster that keeps its streams while one server is killed, wiped and started again", async () => {
    const [first] = nats.servers() as [NatsServer, NatsServer, NatsServer];
    await vi.waitFor(async () => expect(await streamsOf(nats.url(), "kept")).toEqual(["kept"]), {
      timeout: 60_000,
      interval: 500,
    });
    const before = first.pid;

    await first.kill();
    expect(first.pid).toBeUndefined();
    await first.start({ isWiped: true });

    expect(first.pid).not.toBe(before);
    await vi.waitFor(async () => expect(await streamsOf(first.url)).toEqual(["kept"]), {
      timeout: 60_000,
      interval: 500,
    });
  });
});
