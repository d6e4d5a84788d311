import { startNatsServers } from "@holdfast/hub/nats-server";
import { jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

/** How often JetStream flushes what it has acknowledged. */
export type SyncInterval = "2m" | "always";

const subject = "signals";
const name = "SIGNALS";

/** A stream with file storage on a nats-server of its own, which is a process of its own. */
export async function openJetstream(dataDir: string, syncInterval: SyncInterval) {
  const servers = await startNatsServers({ folder: dataDir, syncInterval });
  const connection = await connect({ servers: servers.url });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name,
    subjects: [subject],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
  });
  const stream = jetstream(connection, { timeout: 60_000 });
  return {
    /** Resolves with the acknowledgement. */
    publish: (payload: Uint8Array): Promise<unknown> => stream.publish(subject, payload),
    /** All that is there and will come, in order, from an ordered consumer. */
    async follow(messagesMax: number) {
      const consumer = await stream.consumers.get(name);
      return await consumer.consume({ max_messages: messagesMax });
    },
    async close() {
      await connection.close();
      await servers.stop();
    },
  };
}
