// The one connection that a hub writes with, and the hub's identity as a writer.
//
//   closed ──open──► opening ──► open ──connection lost──► closed
//
// Pages of events are numbered by this writer, 1, 2, 3 …, without a gap (D20). So there is at most one backend
// that writes as it: an advisory lock says so, also against our own former backend when the network cut us off
// from it; that one is terminated before we go on. Numbers that were on their way when a connection was lost are
// then filled where they came to nothing. When another hub found the lock free and ended this life, whose rest of
// events it forwards, we go on under a new number.
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { endClient } from "./end-client.js";

const fillPageText = "insert into event_page (at, writer_id, batch, items) values (now(), $1, $2, '{}')";

const fillDoubtfulText = `
insert into event_page (at, writer_id, batch, items)
select now(), $1, n, '{}' from unnest($2::bigint[]) as n
where not exists (select from event_page p where p.writer_id = $1 and p.batch = n)`;

/** First half of the advisory lock that the backend of a living writer holds; the second is the writer's number. */
export const writerLockClass = 0x486f6c64;
const lockPatienceMs = 10_000;

/**
 * A commit that was answered is durable (D1): a server set to less is raised to "on" for this connection; one set
 * to more ("remote_apply") keeps it.
 */
export const durableCommits = `
  select set_config('synchronous_commit', 'on', false)
  where current_setting('synchronous_commit') in ('off', 'local', 'remote_write');`;

/**
 * All hot statements look their rows up by key (`isByKey`), and nothing else in them could serve an index: so with scans
 * ruled out, a nested loop over the primary key is the plan, whatever the tables held when they were counted.
 */
export const plansByKey = `
  set jit = off;
  set plan_cache_mode = force_generic_plan;
  set enable_seqscan = off;
  set enable_bitmapscan = off;`;

// An index that holds all that is asked for looks cheaper than any lookup while its table is empty: none is read alone.
const writerSettings = `
  set search_path = holdfast;
  ${durableCommits}
  ${plansByKey}
  set statement_timeout = '30s';
  set lock_timeout = '5s';
  set idle_in_transaction_session_timeout = '30s';
  set enable_material = off;
  set enable_hashjoin = off;
  set enable_mergejoin = off;
  set enable_indexonlyscan = off;`;

export class WriterConnection {
  readonly #databaseUrl: string;
  readonly #hubVersion: string;
  #client: pg.Client | undefined;
  #backendPid = 0;
  #writerId = 0;
  #lastPage = 0;
  /** Numbers that were handed out and have come to nothing yet, nor to a page. */
  readonly #openPages = new Set<number>();

  constructor(databaseUrl: string, hubVersion: string) {
    this.#databaseUrl = databaseUrl;
    this.#hubVersion = hubVersion;
  }

  /** Number of this life of the hub; 0 before the first open, another when another hub ended this life. */
  get writerId(): number {
    return this.#writerId;
  }

  get isOpen(): boolean {
    return this.#client !== undefined;
  }

  /**
   * Hands out the number of the next page of events; it is to be kept, returned or settled, unless the connection is
   * lost.
   */
  takePage(): number {
    this.#lastPage += 1;
    this.#openPages.add(this.#lastPage);
    return this.#lastPage;
  }

  /** The page was written. */
  keepPage(page: number): void {
    this.#openPages.delete(page);
  }

  /** The page was not written: its number is taken back, or filled when a later one is out already. */
  async returnPage(page: number): Promise<void> {
    if (page === this.#lastPage) this.#lastPage -= 1;
    else await this.query({ name: "fill_page", text: fillPageText, values: [this.#writerId, page] });
    this.#openPages.delete(page);
  }

  /** Whether the page was written is unknown: its number is filled if not. */
  async settlePage(page: number): Promise<void> {
    await this.query({ name: "fill_pages", text: fillDoubtfulText, values: [this.#writerId, [page]] });
    this.#openPages.delete(page);
  }

  query<Row extends object>(config: pg.QueryConfig): Promise<pg.QueryResult<Row & pg.QueryResultRow>> {
    if (!this.#client) throw new Error("The writer connection is closed.");
    return this.#client.query(config);
  }

  /**
   * One transaction. All its statements are sent at once, so that no other statement comes between them; when one
   * fails, none takes effect.
   */
  async together(configs: readonly pg.QueryConfig[]): Promise<pg.QueryResult[]> {
    const all = [{ text: "begin" }, ...configs, { text: "commit" }];
    const answers = await Promise.allSettled(all.map((config) => this.query(config)));
    // What comes after the statement that failed is refused only because it failed.
    const failed = answers.find((answer) => answer.status === "rejected");
    if (failed) throw failed.reason;
    return answers.slice(1, -1).map((answer) => (answer as PromiseFulfilledResult<pg.QueryResult>).value);
  }

  /** Connects, once; a lost connection is noticed and leaves this closed. */
  async open(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#databaseUrl,
      application_name: "holdfast-writer",
      connectionTimeoutMillis: 5_000,
      query_timeout: 40_000,
      keepAlive: true,
      // The server finds the next batch waiting when it has finished one.
      pipeline: true,
    });
    const forget = () => {
      if (this.#client === client) this.#client = undefined;
    };
    client.on("error", forget);
    client.on("end", forget);
    try {
      await client.connect();
      await client.query(writerSettings);
      await this.#becomeWriter(client);
      this.#client = client;
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  /** Drops the connection, whatever state it is in. */
  async abandon(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    if (client) await endClient(client);
  }

  /** Ends this life of the hub: its writer number is never used again. */
  async close(): Promise<void> {
    await this.#client
      ?.query("update writer set ended_at = now() where writer_id = $1", [this.#writerId])
      .catch(() => undefined);
    await this.abandon();
  }

  async #becomeWriter(client: pg.Client): Promise<void> {
    if (this.#writerId === 0) await this.#beginLife(client);
    await this.#takeLock(client);
    if (await this.#wasEnded(client)) {
      await client.query("select pg_advisory_unlock($1, $2)", [writerLockClass, this.#writerId]);
      await this.#beginLife(client);
      await this.#takeLock(client);
    }
    // Only this life of the hub numbers its pages, so it knows where it is: history may have been dropped meanwhile.
    await client.query(fillDoubtfulText, [this.#writerId, [...this.#openPages]]);
    this.#openPages.clear();
    const backend = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    this.#backendPid = backend.rows[0]?.pid ?? 0;
  }

  async #beginLife(client: pg.Client): Promise<void> {
    const made = await client.query<{ writer_id: number }>(
      "insert into writer (hub_version, host) values ($1, $2) returning writer_id",
      [this.#hubVersion, hostname()],
    );
    this.#writerId = made.rows[0]?.writer_id ?? 0;
    this.#lastPage = 0;
    this.#openPages.clear();
  }

  async #wasEnded(client: pg.Client): Promise<boolean> {
    const { rowCount } = await client.query(
      "select from writer where writer_id = $1 and ended_at is not null",
      [this.#writerId],
    );
    return rowCount === 1;
  }

  async #takeLock(client: pg.Client): Promise<void> {
    const giveUpAt = Date.now() + lockPatienceMs;
    for (;;) {
      const taken = await client.query<{ ok: boolean }>("select pg_try_advisory_lock($1, $2) as ok", [
        writerLockClass,
        this.#writerId,
      ]);
      if (taken.rows[0]?.ok) return;
      if (Date.now() > giveUpAt)
        throw new Error("A former connection of this hub still writes to the ledger.");
      await client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where pid = $1 and application_name = 'holdfast-writer' and usename = current_user`,
        [this.#backendPid],
      );
      await delay(50);
    }
  }
}
