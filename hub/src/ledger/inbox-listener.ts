// A connection that hears when transactions that submitted from SQL commit.
//
//   closed ──open──► opening ──► listening ──connection lost──► waiting ──► opening
//
// Nothing rests on it: hubs look into the inbox once a second besides.
import pg from "pg";
import { endClient } from "./end-client.js";

const reopenMs = 1_000;

/** The lock that inbox_wake() in the database tries: shared by hubs that look anyway, so that nobody need tell them. */
const awakeLock = "1215261801, 0";

export class InboxListener {
  readonly #databaseUrl: string;
  readonly #onWake: () => void;
  readonly #onError: (error: unknown) => void;
  #client: pg.Client | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #isStopped = false;
  #isAwake = false;

  constructor(databaseUrl: string, onWake: () => void, onError: (error: unknown) => void) {
    this.#databaseUrl = databaseUrl;
    this.#onWake = onWake;
    this.#onError = onError;
  }

  /** Connects, and again whenever the connection is lost. */
  async open(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#databaseUrl,
      application_name: "holdfast-listener",
      connectionTimeoutMillis: 5_000,
      query_timeout: 10_000,
      keepAlive: true,
    });
    const lost = (error?: unknown) => {
      if (this.#client === client) this.#client = undefined;
      this.#isAwake = false;
      client.removeListener("end", lost);
      if (error !== undefined && !this.#isStopped) this.#onError(error);
      void client.end().catch(() => undefined);
      this.#reopen();
    };
    client.on("error", lost);
    client.on("notification", () => this.#onWake());
    try {
      await client.connect();
      await client.query("listen holdfast_inbox");
      client.on("end", lost);
      if (this.#isStopped) return await client.end();
      this.#client = client;
      // What was told while nobody listened.
      this.#onWake();
    } catch (error) {
      lost(error);
    }
  }

  /** While the hub looks anyway nobody tells it. Best effort: whoever is just telling keeps the lock a moment. */
  async stayAwake(isAwake: boolean): Promise<void> {
    const client = this.#client;
    if (!client || isAwake === this.#isAwake) return;
    const act = isAwake ? "pg_try_advisory_lock_shared" : "pg_advisory_unlock_shared";
    const { rows } = await client.query<{ done: boolean }>(`select ${act}(${awakeLock}) as done`);
    this.#isAwake = isAwake && rows[0]?.done === true;
  }

  async close(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#reopening);
    const client = this.#client;
    this.#client = undefined;
    if (client) await endClient(client);
  }

  #reopen(): void {
    if (this.#isStopped) return;
    clearTimeout(this.#reopening);
    this.#reopening = setTimeout(() => void this.open(), reopenMs);
  }
}
