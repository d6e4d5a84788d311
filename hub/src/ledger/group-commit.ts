// Group commit: everything a hub writes goes through here, in batches. While one statement is on its way,
// whatever arrives joins the next; idle, what one turn of the event loop brings commits at once; busy, hundreds
// share one fsync.
//
// Invariants
//  1. Statements run one after the other on one connection, each its own transaction: so pages of events are
//     numbered in commit order. At most two are on their way, so that the server need not wait for the hub; a page
//     number that came to nothing is filled, never used again.
//  2. Statements are idempotent: when one fails, or the connection is lost, its batch runs again, whole or halved, with
//     `isRetry` set, and answers what the first try would have, or DUPLICATE. What failed may have come after its write.
//  3. A poisoned item is refused by itself: a refused batch is halved until the culprit stands alone. Only what is wrong
//     with the item itself poisons it: one that the server does not take just now is tried again apart from its
//     neighbours.
//  4. The queue is bounded in items and bytes; when it is full, callers get BACKLOG_FULL at once. For statements of
//     sessions it is full later than for submits and calls.
//  5. A caller waits for a ledger that is lost, or does not take its items, no longer than its patience, then gets
//     LEDGER_UNAVAILABLE.
import { setTimeout as delay, setImmediate as endOfTurn } from "node:timers/promises";
import { Fault } from "../domain/fault.js";
import { ReadyClock } from "../domain/ready-clock.js";
import type { RunChanges } from "../domain/run-changes.js";
import type { Woken } from "../domain/wait.js";
import { type BatchBounds, type CallPart, partsOf } from "./call-parts.js";
import { classifyFailure, type StatementFailure } from "./failure.js";
import type { JobPartitions } from "./job-partitions.js";
import type { WriterConnection } from "./writer-connection.js";

/** One act on the ledger, for many items at once. */
export interface BatchStatement<Item, Result> extends BatchBounds<Item> {
  /** Also the name of its metric. */
  readonly name: string;
  readonly run: (on: BatchContext, items: readonly Item[]) => Promise<BatchResult<Result>>;
}

export interface BatchContext {
  readonly connection: WriterConnection;
  readonly writerId: number;
  /** Number of the page of events: handed out when it is asked for, so a statement that writes none does not ask. */
  readonly batch: number;
  /** An earlier try may have committed. */
  readonly isRetry: boolean;
  /** Reserves places in lanes; answers the first of `count` consecutive ones. */
  readonly reserveReadyKeys: (count: number) => number;
  /** The narrowest table that is sure to hold all jobs of these ids. */
  readonly jobTable: (ids: readonly string[]) => string;
}

export interface BatchResult<Result> {
  /** One per item, in order. */
  readonly results: readonly Result[];
  readonly wrotePage: boolean;
  /** What it did to runs besides. */
  readonly advanced?: RunChanges;
  /** Whom it woke besides. */
  readonly woken?: Woken;
}

/** Of submits and calls; statements of sessions find a quarter more. */
export interface GroupCommitLimits {
  readonly queuedItemsMax: number;
  readonly queuedBytesMax: number;
}

export interface GroupCommitObserver {
  readonly committed: (statement: string, items: number, seconds: number) => void;
  /** A page of events is committed; pages of a writer are said in order. */
  readonly pageCommitted: (writerId: number, page: number) => void;
  /** Jobs of runs changed because others ended. */
  readonly runsAdvanced: (changes: RunChanges) => void;
  /** Jobs that waited are ready. */
  readonly jobsWoken: (woken: Woken) => void;
  readonly disconnected: (error: unknown) => void;
  readonly reconnected: (afterMs: number) => void;
  /** The ledger refused one item by itself. */
  readonly poisoned: (statement: string, error: unknown) => void;
  /** The ledger did not take one item just now, though it takes others. */
  readonly heldUp: (statement: string, error: unknown) => void;
}

interface Unit {
  /** Its place among all that ever came. */
  readonly number: number;
  readonly items: readonly unknown[];
  readonly bytes: number;
  readonly giveUpAtMs: number;
  isRetry: boolean;
  readonly resolve: (results: readonly unknown[]) => void;
  readonly reject: (error: unknown) => void;
}

/** A call of which an item was held up, with what became of the others. */
interface LeftUnit {
  readonly unit: Unit;
  readonly results: readonly unknown[];
}

interface Line {
  readonly statement: BatchStatement<unknown, unknown>;
  units: Unit[];
}

/** What one transaction came to: its results, or why it has none. */
type Tried =
  | { readonly type: "done"; readonly results: readonly unknown[] }
  | { readonly type: Exclude<StatementFailure, "connection">; readonly error: unknown };

/** In place of the result of an item that the server did not take just now. */
class HeldUp {
  constructor(readonly error: unknown) {}
}

const batchesInFlightMax = 2;
/** What the limits of the queue are multiplied by for statements of sessions. */
const sessionRoom = 1.25;
const conflictTriesMax = 5;
const reconnectDelaysMs = [50, 100, 200, 400, 800, 1_000];

export class GroupCommit {
  readonly #connection: WriterConnection;
  readonly #limits: GroupCommitLimits;
  readonly #sessionStatements: ReadonlySet<string>;
  readonly #observer: GroupCommitObserver;
  readonly #jobTable: BatchContext["jobTable"];
  readonly #lines = new Map<string, Line>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #readyClock = new ReadyClock();
  readonly #reserveReadyKeys = (count: number) => this.#readyClock.next(Date.now(), count);
  #unitsEver = 0;
  #queuedItems = 0;
  #queuedBytes = 0;
  #failuresInRow = 0;
  #isRunning = false;
  #isStopping = false;
  #idle: Promise<void> = Promise.resolve();

  constructor(
    connection: WriterConnection,
    partitions: JobPartitions,
    limits: GroupCommitLimits,
    sessionStatements: ReadonlySet<string>,
    observer: GroupCommitObserver,
  ) {
    this.#connection = connection;
    this.#jobTable = (ids) => partitions.tableOf(ids);
    this.#limits = limits;
    this.#sessionStatements = sessionStatements;
    this.#observer = observer;
  }

  get queuedItems(): number {
    return this.#queuedItems;
  }

  /**
   * Commits items together with whatever else waits; answers one result per item, in order: a Fault for an item
   * that the ledger refused by itself, which rejects the call when it was alone. Items of one call are spread
   * over several transactions only when they exceed a batch, in items or in bytes.
   *
   * @param patienceMs how long to wait for a lost ledger
   */
  async commit<Item, Result>(
    statement: BatchStatement<Item, Result>,
    items: readonly Item[],
    patienceMs: number,
  ): Promise<readonly (Result | Fault)[]> {
    if (this.#isStopping) throw new Fault("HUB_STOPPING", "The hub is stopping.");
    const parts = partsOf(statement, items);
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    const room = this.#sessionStatements.has(statement.name) ? sessionRoom : 1;
    if (
      this.#queuedItems + items.length > this.#limits.queuedItemsMax * room ||
      this.#queuedBytes + bytes > this.#limits.queuedBytesMax * room
    )
      throw new Fault(
        "BACKLOG_FULL",
        "The hub's write queue is full; try again shortly.",
        {},
        { retryAfterMs: 500 },
      );
    const giveUpAtMs = Date.now() + patienceMs;
    const committed = await Promise.all(parts.map((part) => this.#commitPart(statement, part, giveUpAtMs)));
    const results = committed.length === 1 ? (committed[0] as readonly (Result | Fault)[]) : committed.flat();
    if (results.length === 1 && results[0] instanceof Fault) throw results[0];
    return results;
  }

  /** Refuses new work, finishes what is queued unless the ledger is away, then answers. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#idle;
  }

  #commitPart<Item, Result>(
    statement: BatchStatement<Item, Result>,
    { items, bytes }: CallPart<Item>,
    giveUpAtMs: number,
  ): Promise<readonly (Result | Fault)[]> {
    this.#unitsEver += 1;
    const number = this.#unitsEver;
    return new Promise<readonly (Result | Fault)[]>((resolve, reject) => {
      this.#enqueue(statement as unknown as BatchStatement<unknown, unknown>, {
        number,
        items,
        bytes,
        giveUpAtMs,
        isRetry: false,
        resolve: resolve as Unit["resolve"],
        reject,
      });
    });
  }

  #enqueue(statement: BatchStatement<unknown, unknown>, unit: Unit): void {
    let line = this.#lines.get(statement.name);
    if (!line) {
      line = { statement, units: [] };
      this.#lines.set(statement.name, line);
    }
    line.units.push(unit);
    this.#queuedItems += unit.items.length;
    this.#queuedBytes += unit.bytes;
    if (!this.#isRunning) {
      this.#isRunning = true;
      this.#idle = this.#run();
    }
  }

  async #run(): Promise<void> {
    // The calls that were read from one socket arrive one by one: without this the first of them would go alone.
    await endOfTurn();
    while (this.#queuedItems > 0) {
      const line = this.#nextLine();
      if (!line) {
        await Promise.race(this.#inFlight);
        await endOfTurn();
        continue;
      }
      if (!this.#connection.isOpen) {
        await Promise.all(this.#inFlight);
        // Who waited on this line may have given up meanwhile.
        await this.#reconnect();
        continue;
      }
      const batch = this.#runBatch(line);
      this.#inFlight.add(batch);
      void batch.then(() => this.#inFlight.delete(batch));
    }
    this.#isRunning = false;
  }

  /** The line whose turn it is, if anything may be sent now. Lines take turns. */
  #nextLine(): Line | undefined {
    if (this.#inFlight.size >= batchesInFlightMax) return undefined;
    for (const [name, line] of this.#lines) {
      if (line.units.length === 0) continue;
      this.#lines.delete(name);
      this.#lines.set(name, line);
      return line;
    }
    return undefined;
  }

  #takeBatch(line: Line): Unit[] {
    const { itemsMax, bytesMax } = line.statement;
    let items = 0;
    let bytes = 0;
    let count = 0;
    for (const unit of line.units) {
      items += unit.items.length;
      bytes += unit.bytes;
      // Tries that may have committed already run apart, so that each batch is wholly one or the other.
      const isMixed = unit.isRetry !== line.units[0]?.isRetry;
      if (count > 0 && (items > itemsMax || bytes > bytesMax || isMixed)) break;
      count += 1;
    }
    return line.units.splice(0, count);
  }

  async #runBatch(line: Line): Promise<void> {
    const units = this.#takeBatch(line);
    const items = units.length === 1 ? (units[0] as Unit).items : units.flatMap((unit) => unit.items);
    const startedAt = performance.now();
    try {
      const results = await this.#runItems(line.statement, items, units[0]?.isRetry ?? false);
      this.#observer.committed(line.statement.name, items.length, (performance.now() - startedAt) / 1000);
      const left = this.#settle(units, results);
      if (left) await this.#tryLater(line, left);
      else this.#failuresInRow = 0;
    } catch (error) {
      // The connection is gone: whether the batch committed is unknown, so it runs again as a retry.
      this.#putBack(line, units);
      await this.#connection.abandon();
      this.#observer.disconnected(error);
      this.#giveUpOverdue(error);
      // A server that takes connections but fails on every statement (a full disk, say) is not hammered.
      await this.#pause(this.#failuresInRow);
      this.#failuresInRow += 1;
    }
  }

  /**
   * Results or, for a poisoned item, its Fault, or HeldUp for at most one; throws only when the connection is lost, or
   * as good as that.
   */
  async #runItems(
    statement: BatchStatement<unknown, unknown>,
    items: readonly unknown[],
    isRetry: boolean,
  ): Promise<readonly unknown[]> {
    for (let tries = 1; ; tries += 1) {
      const tried = await this.#tryItems(statement, items, isRetry || tries > 1);
      if (tried.type === "done") return tried.results;
      if (tried.type === "conflict" && tries < conflictTriesMax) continue;
      if (items.length === 1) return [this.#notDone(statement.name, tried)];
      const half = items.length >> 1;
      const results = [
        ...(await this.#runItems(statement, items.slice(0, half), true)),
        ...(await this.#runItems(statement, items.slice(half), true)),
      ];
      // One item may be slow by itself; two are held up by the server, and the others would wait for each of them.
      if (results.filter((result) => result instanceof HeldUp).length > 1) throw tried.error;
      return results;
    }
  }

  #notDone(statement: string, { type, error }: Exclude<Tried, { type: "done" }>): Fault | HeldUp {
    if (type !== "refused") {
      this.#observer.heldUp(statement, error);
      return new HeldUp(error);
    }
    this.#observer.poisoned(statement, error);
    return new Fault("ITEM_POISONED", "The ledger refused this item.", {}, { cause: error });
  }

  /** One transaction; throws only when the connection is lost. */
  async #tryItems(
    statement: BatchStatement<unknown, unknown>,
    items: readonly unknown[],
    isRetry: boolean,
  ): Promise<Tried> {
    const connection = this.#connection;
    let page: number | undefined;
    const on: BatchContext = {
      connection,
      writerId: connection.writerId,
      get batch() {
        page ??= connection.takePage();
        return page;
      },
      isRetry,
      reserveReadyKeys: this.#reserveReadyKeys,
      jobTable: this.#jobTable,
    };
    let done: BatchResult<unknown>;
    try {
      done = await statement.run(on, items);
    } catch (error) {
      const type = classifyFailure(error);
      if (type === "connection") throw error;
      // What failed may have come after its write: only the ledger knows whether the page is there.
      if (page !== undefined) await connection.settlePage(page);
      return { type, error };
    }
    if (page !== undefined && done.wrotePage) {
      connection.keepPage(page);
      this.#observer.pageCommitted(on.writerId, page);
    } else if (page !== undefined) await connection.returnPage(page);
    if (done.advanced && done.advanced.jobIds.length > 0) this.#observer.runsAdvanced(done.advanced);
    if (done.woken) this.#observer.jobsWoken(done.woken);
    return { type: "done", results: done.results };
  }

  /** Answers the calls, but for one with an item that is held up: that one is left. */
  #settle(units: readonly Unit[], results: readonly unknown[]): LeftUnit | undefined {
    let left: LeftUnit | undefined;
    let at = 0;
    for (const unit of units) {
      const own = units.length === 1 ? results : results.slice(at, at + unit.items.length);
      at += unit.items.length;
      if (own.some((result) => result instanceof HeldUp)) {
        left = { unit, results: own };
        continue;
      }
      this.#leaveQueue(unit);
      unit.resolve(own);
    }
    return left;
  }

  /** While it waits, it takes up one of the batches in flight: the others go on in what is left. */
  async #tryLater(line: Line, { unit, results }: LeftUnit): Promise<void> {
    await this.#pause(this.#failuresInRow);
    this.#failuresInRow += 1;
    if (!this.#isOverdue(unit)) return this.#putBack(line, [unit]);
    this.#leaveQueue(unit);
    unit.resolve(results.map((result) => (result instanceof HeldUp ? unavailable(result.error) : result)));
  }

  /** Where they stood: of batches that were lost together, any may come back first. */
  #putBack(line: Line, units: readonly Unit[]): void {
    for (const unit of units) unit.isRetry = true;
    line.units = [...units, ...line.units].sort((one, other) => one.number - other.number);
  }

  #leaveQueue(unit: Unit): void {
    this.#queuedItems -= unit.items.length;
    this.#queuedBytes -= unit.bytes;
  }

  /** Tries until the ledger is back or nobody waits any longer. */
  async #reconnect(): Promise<void> {
    const lostAtMs = Date.now();
    for (let tries = 0; this.#queuedItems > 0; tries += 1) {
      try {
        await this.#connection.open();
        this.#observer.reconnected(Date.now() - lostAtMs);
        return;
      } catch (error) {
        this.#giveUpOverdue(error);
        if (this.#queuedItems > 0) await this.#pause(tries);
      }
    }
  }

  #pause(failures: number): Promise<void> {
    return delay(reconnectDelaysMs[Math.min(failures, reconnectDelaysMs.length - 1)] as number);
  }

  #giveUpOverdue(cause: unknown): void {
    for (const line of this.#lines.values())
      line.units = line.units.filter((unit) => !this.#giveUpIfOverdue(unit, cause));
  }

  #giveUpIfOverdue(unit: Unit, cause: unknown): boolean {
    if (!this.#isOverdue(unit)) return false;
    this.#leaveQueue(unit);
    unit.reject(unavailable(cause));
    return true;
  }

  #isOverdue(unit: Unit): boolean {
    return unit.giveUpAtMs <= Date.now() || this.#isStopping;
  }
}

function unavailable(cause: unknown): Fault {
  return new Fault("LEDGER_UNAVAILABLE", "The ledger cannot be reached.", {}, { retryAfterMs: 1_000, cause });
}
