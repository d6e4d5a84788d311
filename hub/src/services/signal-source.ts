import type { SignalPage } from "../domain/signal-page.js";
import { slicePage } from "../domain/signal-page.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import type { Tail } from "./signal-router.js";

const readBytes = 512 << 10;
/** Signals of one message, about. */
const signalsMax = 5_000;

export type SourceLedger = Pick<SignalLedger, "readSignals" | "readHeads">;

export type FoundPages =
  | { readonly type: "pages"; readonly pages: readonly SignalPage[] }
  /** Retention trimmed what was asked for. */
  | { readonly type: "trimmed"; readonly firstHeld: number };

/** Where a follower's signals come from: what the hub has stored lately, and else the ledger, half a MiB at a time. */
export class SignalSource {
  readonly #ledger: SourceLedger;
  readonly #tail: Tail;
  #read: readonly SignalPage[] = [];

  constructor(ledger: SourceLedger, tail: Tail) {
    this.#ledger = ledger;
    this.#tail = tail;
  }

  /** Pages from the one that holds a sequence on; the sequence is known to be committed. */
  async pagesFrom(sequence: number): Promise<FoundPages> {
    const live = this.#tail.pageWith(sequence);
    if (live) return { type: "pages", pages: this.#livePages(live) };
    const [first] = this.#read;
    if (!first || first.firstSequence > sequence || first.lastSequence < sequence)
      this.#read = await this.#readFrom(sequence, readBytes);
    const [held] = this.#read;
    if (held && held.firstSequence <= sequence) return { type: "pages", pages: this.#read };
    const firstHeld = held ? held.firstSequence : await this.#firstHeld();
    if (firstHeld > sequence) return { type: "trimmed", firstHeld };
    const { channelId, partition } = this.#tail;
    throw new Error(`Sequence ${sequence} of channel ${channelId}/${partition} is neither held nor trimmed.`);
  }

  /** The page that holds one signal, cut to it; null when it is not held any more. */
  async readOne(sequence: number): Promise<SignalPage | null> {
    const live = this.#tail.pageWith(sequence);
    const [page] = live ? [live] : await this.#readFrom(sequence, 1);
    return page && page.firstSequence <= sequence ? slicePage(page, sequence, sequence) : null;
  }

  #livePages(first: SignalPage): SignalPage[] {
    this.#read = [];
    const pages = [first];
    let signals = first.lastSequence - first.firstSequence + 1;
    let bytes = first.body.length;
    for (;;) {
      const page = this.#tail.pageWith((pages.at(-1) as SignalPage).lastSequence + 1);
      if (!page || signals >= signalsMax || bytes >= readBytes) return pages;
      pages.push(page);
      signals += page.lastSequence - page.firstSequence + 1;
      bytes += page.body.length;
    }
  }

  #readFrom(sequence: number, bytes: number): Promise<SignalPage[]> {
    return this.#ledger.readSignals(this.#tail.channelId, this.#tail.partition, sequence, bytes);
  }

  async #firstHeld(): Promise<number> {
    const heads = await this.#ledger.readHeads([this.#tail.channelId]);
    return heads.find(({ partition }) => partition === this.#tail.partition)?.firstSequence ?? 1;
  }
}
