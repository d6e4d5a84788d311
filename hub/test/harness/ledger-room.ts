import pg from "pg";
import type { Lane, LaneKey } from "../../src/domain/lane.js";
import type { GroupCommitLimits, GroupCommitObserver } from "../../src/ledger/group-commit.js";
import { type Ledger, openLedger } from "../../src/ledger/ledger.js";
import { createTestDatabase } from "./postgres.js";

/** A database of its own, with a hub's ledger opened on it and a door for looking at its tables. */
export interface LedgerRoom {
  readonly url: string;
  readonly ledger: Ledger;
  /** The lane of jobs that a test submits unless it says otherwise. */
  readonly lane: Lane;
  /** One more life of a hub on the same database. */
  openLedger(limits?: Partial<GroupCommitLimits>): Promise<Ledger>;
  makeLane(key: Partial<LaneKey>): Promise<Lane>;
  sql<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Says which pages of events any ledger of the room commits. */
  onPage(listener: (writerId: number, page: number) => void): void;
  /** Ends every ledger of the room and removes its database. */
  close(): Promise<void>;
}

export const quietObserver: GroupCommitObserver = {
  committed: () => undefined,
  pageCommitted: () => undefined,
  runsAdvanced: () => undefined,
  jobsWoken: () => undefined,
  poisoned: () => undefined,
  heldUp: () => undefined,
  disconnected: () => undefined,
  reconnected: () => undefined,
};

/** In a database of the run's server, or in the one given. */
export async function openLedgerRoom(givenUrl?: string): Promise<LedgerRoom> {
  const database = givenUrl === undefined ? await createTestDatabase() : undefined;
  const url = givenUrl ?? (database?.url as string);
  const stops: (() => Promise<void>)[] = [];
  const pageListeners: ((writerId: number, page: number) => void)[] = [];
  const observer: GroupCommitObserver = {
    ...quietObserver,
    pageCommitted: (writerId, page) => {
      for (const listener of pageListeners) listener(writerId, page);
    },
  };
  const open = async (limits: Partial<GroupCommitLimits> = {}) => {
    const ledger = await openLedger({
      databaseUrl: url,
      hubVersion: "test",
      readConnectionsMax: 2,
      limits: { queuedItemsMax: 100_000, queuedBytesMax: 1 << 28, ...limits },
      observer,
      onReadError: () => undefined,
    });
    const stop = once(ledger.stop);
    stops.push(stop);
    return { ...ledger, stop };
  };
  const ledger = await open();
  const pool = new pg.Pool({
    connectionString: url,
    application_name: "holdfast-test-eye",
    max: 2,
    onConnect: async (client) => {
      await client.query("set search_path = holdfast");
    },
  });
  pool.on("error", () => undefined);
  const makeLane = async (key: Partial<LaneKey>): Promise<Lane> => {
    const names = {
      product: "default",
      queue: "default",
      kind: "greet",
      source: "",
      fairnessKey: "",
    } as const;
    const plain = { tenantId: 1, ...names, priority: 2, capabilities: [] } as const;
    const [made] = await ledger.ensureLane({ ...plain, ...key }, 1, 1_000);
    return (made as { lane: Lane }).lane;
  };
  return {
    url,
    ledger,
    lane: await makeLane({}),
    openLedger: open,
    makeLane,
    onPage: (listener) => void pageListeners.push(listener),
    async sql<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
      return (await pool.query(text, values)).rows as Row[];
    },
    async close() {
      await pool.end();
      for (const stop of stops) await stop();
      await database?.drop();
    },
  };
}

/** A test may stop a ledger before its room does. */
function once(act: () => Promise<void>): () => Promise<void> {
  let acting: Promise<void> | undefined;
  return () => {
    acting ??= act();
    return acting;
  };
}
