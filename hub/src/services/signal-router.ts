// Brings what is published to those who follow. The ledger orders; everything here only makes it fast: pages that
// this hub stored itself wait in a bounded window that all followers of a partition share, and a follower that is
// behind it reads the ledger. What other hubs store is noticed by a wake, and at the latest by the next look.
//
// Invariants: a window is contiguous; it never holds a page that is not committed; losing it loses nothing.
import type { ChannelHead } from "../domain/channel.js";
import type { SignalPage } from "../domain/signal-page.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";

const lookIntervalMs = 250;
const windowBytesMax = 4 << 20;
const windowPagesMax = 2_048;
/** Pages that came before those in front of them, in one window. */
const earlyPagesMax = 4_096;

/** What followers of one partition share. */
export interface Tail {
  readonly channelId: number;
  readonly partition: number;
  /** The last sequence that is known to be committed. */
  readonly lastSequence: number;
  /** The page that holds a sequence, if the window does. */
  pageWith(sequence: number): SignalPage | null;
  /** Ends this follower's interest. */
  leave(): void;
}

interface SharedTail {
  readonly channelId: number;
  readonly partition: number;
  readonly listeners: Set<() => void>;
  lastSequence: number;
  pages: SignalPage[];
  bytes: number;
  readonly early: Map<number, SignalPage>;
}

export class SignalRouter {
  readonly #ledger: Pick<SignalLedger, "readHeads">;
  readonly #onError: (error: unknown) => void;
  readonly #tails = new Map<string, SharedTail>();
  readonly #changed = new Set<SharedTail>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | null = null;
  #isStopped = false;
  /** Called when this hub stored signals in a channel: other hubs may be told. */
  onPublished: (channelId: number) => void = () => undefined;
  /** Called at every look: whoever else depends on what other hubs do may look too. */
  onLook: () => Promise<void> = () => Promise.resolve();

  constructor(ledger: Pick<SignalLedger, "readHeads">, onError: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#onError = onError;
  }

  start(): void {
    this.#timer = setTimeout(() => {
      this.#looking = this.#look([...this.#tails.values()].map(({ channelId }) => channelId))
        .then(() => this.onLook())
        .catch(this.#onError)
        .then(() => {
          if (!this.#isStopped) this.start();
        });
    }, lookIntervalMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** Somebody else stored signals in a channel. Only a hint. */
  wake(channelId: number): void {
    void this.#look([channelId]).catch(this.#onError);
  }

  /** Follows one partition: `listener` is called when there may be more. */
  follow(head: ChannelHead, listener: () => void): Tail {
    const key = `${head.channelId}/${head.partition}`;
    let shared = this.#tails.get(key);
    if (!shared) {
      const { channelId, partition, lastSequence } = head;
      shared = {
        channelId,
        partition,
        lastSequence,
        listeners: new Set(),
        pages: [],
        bytes: 0,
        early: new Map(),
      };
      this.#tails.set(key, shared);
    }
    const tail = shared;
    tail.listeners.add(listener);
    if (head.lastSequence > tail.lastSequence) this.#learn(tail, head.lastSequence);
    return {
      channelId: tail.channelId,
      partition: tail.partition,
      get lastSequence() {
        return tail.lastSequence;
      },
      pageWith: (sequence) => pageWith(tail.pages, sequence),
      leave: () => {
        tail.listeners.delete(listener);
        if (tail.listeners.size === 0 && this.#tails.get(key) === tail) this.#tails.delete(key);
      },
    };
  }

  /** A page that this hub stored is committed. */
  published(channelId: number, partition: number, page: SignalPage): void {
    this.onPublished(channelId);
    const tail = this.#tails.get(`${channelId}/${partition}`);
    if (!tail) return;
    const end = windowEnd(tail);
    if (tail.early.size >= earlyPagesMax) {
      // What lies between was stored by another hub: the window begins anew.
      restart(tail);
    } else if (end !== null && page.firstSequence !== end + 1) {
      if (page.firstSequence > end) tail.early.set(page.firstSequence, page);
      if (page.lastSequence > tail.lastSequence) this.#learn(tail, page.lastSequence);
      return;
    }
    append(tail, page);
    for (let next = tail.early.get(page.lastSequence + 1); next; ) {
      tail.early.delete(next.firstSequence);
      append(tail, next);
      next = tail.early.get(next.lastSequence + 1);
    }
    this.#learn(tail, Math.max(tail.lastSequence, windowEnd(tail) ?? 0));
  }

  #learn(tail: SharedTail, lastSequence: number): void {
    tail.lastSequence = lastSequence;
    const isFirst = this.#changed.size === 0;
    this.#changed.add(tail);
    // Once for all pages of a commit.
    if (isFirst)
      setImmediate(() => {
        const changed = [...this.#changed];
        this.#changed.clear();
        for (const { listeners } of changed) for (const listener of [...listeners]) listener();
      });
  }

  async #look(channelIds: readonly number[]): Promise<void> {
    if (channelIds.length === 0) return;
    for (const head of await this.#ledger.readHeads([...new Set(channelIds)])) {
      const tail = this.#tails.get(`${head.channelId}/${head.partition}`);
      if (!tail) continue;
      const end = windowEnd(tail);
      // Another hub published: the window begins anew with what comes next.
      if (end !== null && head.lastSequence > Math.max(end, tail.lastSequence)) restart(tail);
      if (head.lastSequence > tail.lastSequence) this.#learn(tail, head.lastSequence);
    }
  }
}

function windowEnd(tail: SharedTail): number | null {
  return tail.pages.at(-1)?.lastSequence ?? null;
}

function restart(tail: SharedTail): void {
  tail.pages = [];
  tail.bytes = 0;
  tail.early.clear();
}

function append(tail: SharedTail, page: SignalPage): void {
  tail.pages.push(page);
  tail.bytes += page.body.length;
  let dropped = 0;
  while (tail.bytes > windowBytesMax || tail.pages.length - dropped > windowPagesMax) {
    tail.bytes -= (tail.pages[dropped] as SignalPage).body.length;
    dropped += 1;
  }
  // Dropping a quarter at once keeps the cost of moving the rest small.
  if (dropped > 0) {
    const atOnce = Math.min(tail.pages.length, Math.max(dropped, tail.pages.length >> 2));
    for (let at = dropped; at < atOnce; at += 1) tail.bytes -= (tail.pages[at] as SignalPage).body.length;
    tail.pages.splice(0, atOnce);
  }
}

function pageWith(pages: readonly SignalPage[], sequence: number): SignalPage | null {
  let low = 0;
  let high = pages.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const page = pages[middle] as SignalPage;
    if (sequence < page.firstSequence) high = middle - 1;
    else if (sequence > page.lastSequence) low = middle + 1;
    else return page;
  }
  return null;
}
