// Brings what is published to those who follow. The ledger orders; everything here only makes it fast: pages that this
// hub stored itself wait in a window that all followers of a partition share, and a follower that is behind it reads
// the ledger. What other hubs store is noticed by their message, and at the latest by the next look.
import type { ChannelHead } from "../domain/channel.js";
import type { SignalPage } from "../domain/signal-page.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { Rounds } from "./rounds.js";
import { SignalWindow } from "./signal-window.js";

const lookIntervalMs = 250;

/** What followers of one partition share. */
export interface Tail {
  readonly channelId: number;
  readonly partition: number;
  /** The last sequence that is known to be committed. */
  readonly lastSequence: number;
  /** The page that holds a sequence, if this hub stored it lately. */
  pageWith(sequence: number): SignalPage | null;
  /** Ends this follower's interest. */
  leave(): void;
}

interface SharedTail {
  readonly window: SignalWindow;
  readonly listeners: Set<() => void>;
  lastSequence: number;
}

export class SignalRouter {
  readonly #ledger: Pick<SignalLedger, "readHeads">;
  readonly #tellOthers: (channelId: number) => void;
  /** By channel and partition: those that somebody follows here. */
  readonly #tails = new Map<number, Map<number, SharedTail>>();
  readonly #changed = new Set<SharedTail>();
  readonly #looks: Rounds;
  readonly #heard = new Set<number>();
  readonly #hearing: Rounds;

  /** @param tellOthers is called when this hub stored signals in a channel */
  constructor(
    ledger: Pick<SignalLedger, "readHeads">,
    tellOthers: (channelId: number) => void,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#tellOthers = tellOthers;
    this.#looks = new Rounds(() => this.#look([...this.#tails.keys()]), lookIntervalMs, onError);
    this.#hearing = new Rounds(() => this.#lookAtHeard(), lookIntervalMs, onError);
  }

  start(): void {
    this.#looks.start();
    this.#hearing.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#looks.stop(), this.#hearing.stop()]);
  }

  /** Somebody else stored signals in these channels. Only a hint. */
  wake(channelIds: readonly number[]): void {
    for (const channelId of channelIds) if (this.#tails.has(channelId)) this.#heard.add(channelId);
    if (this.#heard.size > 0) this.#hearing.hurry();
  }

  /** Hints may have been lost. */
  lookNow(): void {
    this.#looks.hurry();
  }

  /** Follows one partition: `listener` is called when there may be more. */
  follow(head: ChannelHead, listener: () => void): Tail {
    const { channelId, partition, lastSequence } = head;
    const tails = this.#tails.get(channelId) ?? new Map<number, SharedTail>();
    this.#tails.set(channelId, tails);
    const tail = tails.get(partition) ?? { window: new SignalWindow(), listeners: new Set(), lastSequence };
    tails.set(partition, tail);
    tail.listeners.add(listener);
    if (lastSequence > tail.lastSequence) this.#learn(tail, lastSequence);
    return {
      channelId,
      partition,
      get lastSequence() {
        return tail.lastSequence;
      },
      pageWith: (sequence) => tail.window.pageWith(sequence),
      leave: () => {
        tail.listeners.delete(listener);
        if (tail.listeners.size > 0 || tails.get(partition) !== tail) return;
        tails.delete(partition);
        if (tails.size === 0) this.#tails.delete(channelId);
      },
    };
  }

  /** A page that this hub stored is committed. */
  published(channelId: number, partition: number, page: SignalPage): void {
    this.#tellOthers(channelId);
    const tail = this.#tails.get(channelId)?.get(partition);
    if (!tail) return;
    tail.window.add(page);
    if (page.lastSequence > tail.lastSequence) this.#learn(tail, page.lastSequence);
  }

  /** This hub stored signals whose pages it does not have. */
  stored(channelId: number): void {
    this.#tellOthers(channelId);
    this.wake([channelId]);
  }

  /** Whoever follows is told once for all pages of a commit. */
  #learn(tail: SharedTail, lastSequence: number): void {
    tail.lastSequence = lastSequence;
    const isFirst = this.#changed.size === 0;
    this.#changed.add(tail);
    if (isFirst)
      setImmediate(() => {
        const changed = [...this.#changed];
        this.#changed.clear();
        for (const { listeners } of changed) for (const listener of [...listeners]) listener();
      });
  }

  async #lookAtHeard(): Promise<void> {
    const heard = [...this.#heard];
    this.#heard.clear();
    await this.#look(heard);
  }

  async #look(channelIds: readonly number[]): Promise<void> {
    if (channelIds.length === 0) return;
    for (const { channelId, partition, lastSequence } of await this.#ledger.readHeads(channelIds)) {
      const tail = this.#tails.get(channelId)?.get(partition);
      if (!tail || lastSequence <= tail.lastSequence) continue;
      // Another hub published.
      if (tail.window.end !== null) tail.window.restart();
      this.#learn(tail, lastSequence);
    }
  }
}
