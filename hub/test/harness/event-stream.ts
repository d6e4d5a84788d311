import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";

export interface StoredEvent {
  readonly subject: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Everything that a stream of events holds, oldest first, read over a connection of its own. */
export async function readEventStream(url: string, prefix: string): Promise<StoredEvent[]> {
  const connection = await connect({ servers: url.split(",") });
  try {
    return await readAll(connection, `${prefix}_EVENTS`);
  } finally {
    await connection.close();
  }
}

async function readAll(connection: NatsConnection, stream: string): Promise<StoredEvent[]> {
  const manager = await jetstreamManager(connection);
  const { state } = await manager.streams.info(stream);
  const consumer = await manager.jetstream().consumers.get(stream);
  const stored: StoredEvent[] = [];
  while (stored.length < state.messages) {
    const messages = await consumer.fetch({ max_messages: 500, expires: 5_000 });
    for await (const message of messages) {
      const headers = Object.fromEntries(
        [...(message.headers ?? [])].map(([name, [value]]) => [name, value ?? ""]),
      );
      stored.push({ subject: message.subject, headers, data: message.json() });
      if (message.info.pending === 0) break;
    }
  }
  return stored;
}

/** Revisions of each job as a consumer sees them that drops ids which it has seen. */
export function revisionsSeen(stored: readonly StoredEvent[]): Map<string, number[]> {
  const ids = new Set<string>();
  const jobs = new Map<string, number[]>();
  for (const { headers, data } of stored) {
    const id = headers["ce-id"] as string;
    if (ids.has(id) || data.jobId === undefined) continue;
    ids.add(id);
    const jobId = data.jobId as string;
    jobs.set(jobId, [...(jobs.get(jobId) ?? []), data.revision as number]);
  }
  return jobs;
}
