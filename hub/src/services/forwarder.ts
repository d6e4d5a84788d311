// Carries events out of the ledger into a sink: this hub's pages in commit order, and the rest of writers whose hub is
// dead or stands still.
//
//   new ──start──► running ──stop──► stopping (what is committed goes out, for a short while) ──► stopped
//
// Invariants
//  1. Nothing that writes ever waits for the sink: a slow or absent sink makes the forwarder lag, and so does a hub
//     whose one thread is busy. It holds one read of pages in memory, and reads the next when that is durable.
//  2. A cursor is saved after its pages are durable, a few times a second at most: a crash repeats events, with their
//     ids, and loses none (D20).
//  3. A cursor is claimed for a short time. Who lost a claim finds out when it saves; until then both hubs go through
//     the same pages in the same order, which duplicates events and reorders none (D21).
//  4. A writer's numbers are taken for void only when its life is over in the ledger: ended by its hub, or by whoever
//     found its lock free.
import { setTimeout as delay } from "node:timers/promises";
import { ForwardMarks } from "../domain/event-order.js";
import type { ForwardStatus } from "../domain/forwarded-event.js";
import type { ForwardClaim } from "../ledger/forward-cursors.js";
import type { Ledger } from "../ledger/ledger.js";
import type { EventSink } from "../sinks/sink.js";
import { LoopShare } from "./loop-share.js";
import { type ForwardingParts, forwardNextPages } from "./page-forwarding.js";
import { type TakeOverParts, takeOver } from "./take-over.js";

export interface ForwarderSettings {
  /** How long a claim on a writer's pages holds without being renewed. */
  readonly claimTtlMs: number;
  /** Cursors are saved this far apart. */
  readonly saveIntervalMs: number;
  /** How often other writers are looked at, and the own one even if nothing was said of it. */
  readonly lookIntervalMs: number;
  readonly pagesPerReadMax: number;
  /** Events on their way to the sink; also what is made ready in one go, while the hub does nothing else. */
  readonly batchEventsMax: number;
  /** From this utilization of the hub's event loop by others on, forwarding makes room for the work that people wait for … */
  readonly busyAbove: number;
  /** … and takes about this share of the time. */
  readonly busyShare: number;
  /** How long a stopping hub goes on forwarding what it committed. */
  readonly drainMs: number;
}

export const defaultForwarderSettings: ForwarderSettings = {
  claimTtlMs: 10_000,
  saveIntervalMs: 250,
  lookIntervalMs: 1_000,
  pagesPerReadMax: 8,
  batchEventsMax: 256,
  busyAbove: 0.7,
  busyShare: 0.2,
  drainMs: 2_000,
};

export interface ForwarderObserver {
  readonly forwarded: (events: number, ahead: number) => void;
  readonly failed: (error: unknown) => void;
  /** The rest of another writer was forwarded here. */
  readonly tookOver: (writerId: number, pages: number) => void;
  /** How far every writer is, now and then. */
  readonly waiting: (found: readonly ForwardStatus[]) => void;
}

type ForwarderState =
  | { readonly status: "new" }
  | { readonly status: "running"; readonly loops: Promise<unknown> }
  | { readonly status: "stopping"; readonly untilMs: number }
  | { readonly status: "stopped" };

type ForwarderLedger = ForwardingParts["ledger"] &
  Pick<
    Ledger,
    | "writerId"
    | "currentWriterId"
    | "beginSink"
    | "makeCursors"
    | "claimCursor"
    | "saveCursor"
    | "listUnclaimed"
    | "settleWriter"
    | "readForwarding"
  >;

const retryDelaysMs = [100, 200, 400, 800, 1_600, 3_000];
const marksMax = 10_000;
const takenPerLookMax = 20;
/** Every so many looks, writers whose own hubs do not forward are looked for, and all that waits is counted. */
const looksPerCount = 5;
const countedWritersMax = 100;

export class Forwarder {
  readonly #ledger: ForwarderLedger;
  readonly #sink: EventSink;
  readonly #settings: ForwarderSettings;
  readonly #observer: ForwarderObserver;
  readonly #parts: ForwardingParts;
  readonly #taking: TakeOverParts;
  readonly #share: LoopShare;
  readonly #pauses = new Set<AbortController>();
  #state: ForwarderState = { status: "new" };
  #own: ForwardClaim | null = null;
  #savedThrough = 0;
  #savedAtMs = 0;
  #committed = { writerId: 0, page: 0 };
  #wake: (() => void) | undefined;
  #behindMs = 0;

  constructor(
    ledger: ForwarderLedger,
    sink: EventSink,
    settings: ForwarderSettings,
    observer: ForwarderObserver,
  ) {
    this.#ledger = ledger;
    this.#sink = sink;
    this.#settings = settings;
    this.#observer = observer;
    this.#parts = {
      ledger,
      sink,
      marks: new ForwardMarks(marksMax),
      batchEventsMax: settings.batchEventsMax,
      forwarded: observer.forwarded,
    };
    this.#share = new LoopShare(settings.busyAbove, settings.busyShare);
    this.#taking = {
      ...settings,
      ledger,
      forwarding: this.#parts,
      makeRoom: this.#makeRoom.bind(this),
      isRunning: () => this.#state.status === "running",
    };
  }

  /** Claims the hub's own pages before any is written, so that others know that they will be forwarded. */
  async start(): Promise<void> {
    if (this.#state.status !== "new") return;
    await this.#ledger.beginSink(this.#sink.name);
    await this.#claimOwn(this.#ledger.currentWriterId());
    // In the next turn: the loops run for as long as the state says so.
    const running = Promise.resolve();
    const loops = Promise.all([running.then(() => this.#runOwn()), running.then(() => this.#runOthers())]);
    this.#state = { status: "running", loops };
  }

  /** A page of this hub is committed. Costs the writer nothing: the page is read back when its turn comes. */
  pageCommitted(writerId: number, page: number): void {
    this.#committed = { writerId, page };
    this.#wake?.();
  }

  /** Forwards what is committed, unless that takes longer than `drainMs`, and lets go of every claim. Idempotent. */
  async stop(): Promise<void> {
    if (this.#state.status !== "running") return;
    const { loops } = this.#state;
    this.#state = { status: "stopping", untilMs: Date.now() + this.#settings.drainMs };
    for (const pause of this.#pauses) pause.abort();
    await loops;
    this.#state = { status: "stopped" };
  }

  async #runOwn(): Promise<void> {
    let failures = 0;
    do {
      try {
        await this.#forwardOwn(failures > 0);
        failures = 0;
        await this.#pauseOwn();
      } catch (error) {
        this.#observer.failed(error);
        await this.#pause(retryDelaysMs[Math.min(failures, retryDelaysMs.length - 1)] as number);
        failures += 1;
      }
    } while (this.#state.status === "running");
    await this.#drainOwn(failures > 0).catch((error: unknown) => this.#observer.failed(error));
  }

  /** What is committed goes out while there is time; then any hub may go on. */
  async #drainOwn(isFailing: boolean): Promise<void> {
    if (!isFailing) await this.#forwardOwn(false);
    if (this.#own)
      await this.#ledger.saveCursor(this.#sink.name, this.#own, this.#ledger.writerId, {
        ttlMs: 0,
        isDone: false,
      });
    this.#own = null;
  }

  /** Everything that this hub committed, if its pages are not in other hands. */
  async #forwardOwn(isRetry: boolean): Promise<void> {
    const writerId = this.#ledger.currentWriterId();
    if (this.#own?.writerId !== writerId) await this.#claimOwn(writerId);
    while (this.#own && this.#hasTime()) {
      await this.#saveOwnIfDue();
      if (!this.#own) return;
      const committed = this.#committed.writerId === writerId ? this.#committed.page : 0;
      const startedAtMs = performance.now();
      const next = await forwardNextPages(this.#parts, this.#own, {
        // A step that failed is tried again in the smallest steps that there are.
        pagesMax: isRetry ? 1 : this.#settings.pagesPerReadMax,
        isEnded: false,
        lastPage: committed,
      });
      if (!next) return;
      this.#own = next;
      this.#behindMs = 0;
      this.#parts.marks.note(writerId, next.forwardedThrough);
      await this.#makeRoom(performance.now() - startedAtMs);
    }
  }

  async #claimOwn(writerId: number): Promise<void> {
    const { name } = this.#sink;
    this.#own = await this.#ledger.claimCursor(
      name,
      writerId,
      this.#ledger.writerId,
      this.#settings.claimTtlMs,
    );
    this.#savedThrough = this.#own?.forwardedThrough ?? 0;
    this.#savedAtMs = performance.now();
  }

  async #saveOwnIfDue(): Promise<void> {
    if (!this.#own) return;
    const { saveIntervalMs, claimTtlMs } = this.#settings;
    const hasMoved = this.#own.forwardedThrough > this.#savedThrough;
    if (performance.now() - this.#savedAtMs < (hasMoved ? saveIntervalMs : claimTtlMs / 3)) return;
    const { forwardedThrough } = this.#own;
    const isOurs = await this.#save(this.#own, { ttlMs: claimTtlMs, isDone: false });
    this.#savedAtMs = performance.now();
    this.#savedThrough = forwardedThrough;
    if (!isOurs) this.#own = null;
  }

  #save(claim: ForwardClaim, next: { ttlMs: number; isDone: boolean }): Promise<boolean> {
    return this.#ledger.saveCursor(this.#sink.name, claim, this.#ledger.writerId, next);
  }

  /** Until a page is committed, the cursor has to be saved, or it is time to look anyway. */
  async #pauseOwn(): Promise<void> {
    const own = this.#own;
    const { lookIntervalMs, saveIntervalMs } = this.#settings;
    const isUnsaved = own !== null && own.forwardedThrough > this.#savedThrough;
    const isBehind =
      own?.writerId === this.#committed.writerId && own.forwardedThrough < this.#committed.page;
    this.#behindMs = isBehind ? Math.min(Math.max(2 * this.#behindMs, 1), lookIntervalMs) : 0;
    // A page that is committed and yet not read waits for a number before it that came to nothing, or came just now;
    // pages that are in other hands are asked for now and then, not with each that is committed.
    if (isBehind) await this.#pause(this.#behindMs);
    else if (own === null) await this.#pause(lookIntervalMs);
    else await this.#pause(isUnsaved ? saveIntervalMs : lookIntervalMs, (wake) => (this.#wake = wake));
  }

  async #pause(ms: number, onWake: (wake: () => void) => void = () => undefined): Promise<void> {
    if (ms <= 0 || this.#state.status !== "running") return;
    const awake = new AbortController();
    this.#pauses.add(awake);
    onWake(() => awake.abort());
    await delay(ms, undefined, { signal: awake.signal }).catch(() => undefined);
    this.#pauses.delete(awake);
  }

  /** After a step that took so long; bounded so that no claim runs out. */
  async #makeRoom(stepMs: number): Promise<void> {
    const longestMs = this.#settings.claimTtlMs / 4;
    await this.#share.rest(stepMs, (ms) => this.#pause(Math.min(ms, longestMs)));
  }

  #hasTime(): boolean {
    return this.#state.status === "stopping"
      ? Date.now() < this.#state.untilMs
      : this.#state.status === "running";
  }

  /** Looks after writers that nobody forwards, one at a time. */
  async #runOthers(): Promise<void> {
    for (let look = 0; this.#state.status === "running"; look += 1) {
      try {
        await this.#lookAtOthers(look % looksPerCount === 0);
      } catch (error) {
        this.#observer.failed(error);
      }
      await this.#pause(this.#settings.lookIntervalMs);
    }
  }

  async #lookAtOthers(isCounting: boolean): Promise<void> {
    const { name } = this.#sink;
    if (isCounting) {
      await this.#ledger.makeCursors(name);
      this.#observer.waiting(await this.#ledger.readForwarding(name, countedWritersMax));
    }
    const unclaimed = await this.#ledger.listUnclaimed(name, this.#settings.claimTtlMs, takenPerLookMax);
    for (const writerId of unclaimed) {
      if (this.#state.status !== "running") return;
      if (writerId === this.#ledger.currentWriterId()) continue;
      const pages = await takeOver(this.#taking, writerId);
      if (pages > 0) this.#observer.tookOver(writerId, pages);
    }
  }
}
