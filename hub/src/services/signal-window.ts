// The newest pages of one partition that this hub stored, shared by all who follow it here.
//
// Invariants: what it offers is contiguous and committed; it is bounded in pages and bytes; losing it loses nothing,
// for a follower that does not find its next page reads the ledger.
import type { SignalPage } from "../domain/signal-page.js";

export const windowPagesMax = 2_048;
export const windowBytesMax = 4 << 20;

export class SignalWindow {
  #pages: SignalPage[] = [];
  #bytes = 0;
  /** Pages that came before one in front of them: of one commit, in any order. By their first sequence. */
  readonly #early = new Map<number, SignalPage>();
  #earlyBytes = 0;

  /** The last sequence that it holds. */
  get end(): number | null {
    return this.#pages.at(-1)?.lastSequence ?? null;
  }

  add(page: SignalPage): void {
    const { end } = this;
    if (end !== null && page.firstSequence <= end) return;
    if (end !== null && page.firstSequence > end + 1) return this.#keepEarly(page);
    this.#append(page);
    for (
      let next = this.#takeEarly(page.lastSequence + 1);
      next;
      next = this.#takeEarly(next.lastSequence + 1)
    )
      this.#append(next);
  }

  /** Another hub stored what lies between: it begins anew with what comes next. */
  restart(): void {
    this.#pages = [];
    this.#bytes = 0;
    this.#early.clear();
    this.#earlyBytes = 0;
  }

  /** The page that holds a sequence, if it is here. */
  pageWith(sequence: number): SignalPage | null {
    let low = 0;
    let high = this.#pages.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const page = this.#pages[middle] as SignalPage;
      if (sequence < page.firstSequence) high = middle - 1;
      else if (sequence > page.lastSequence) low = middle + 1;
      else return page;
    }
    return null;
  }

  #keepEarly(page: SignalPage): void {
    this.#early.set(page.firstSequence, page);
    this.#earlyBytes += page.body.length;
    if (this.#early.size <= windowPagesMax && this.#earlyBytes <= windowBytesMax) return;
    this.restart();
    this.#append(page);
  }

  #takeEarly(firstSequence: number): SignalPage | undefined {
    const page = this.#early.get(firstSequence);
    if (!page) return undefined;
    this.#early.delete(firstSequence);
    this.#earlyBytes -= page.body.length;
    return page;
  }

  #append(page: SignalPage): void {
    this.#pages.push(page);
    this.#bytes += page.body.length;
    while (this.#bytes > windowBytesMax || this.#pages.length > windowPagesMax) {
      // A quarter at once keeps the cost of moving the rest small.
      for (const old of this.#pages.splice(0, Math.max(1, this.#pages.length >> 2)))
        this.#bytes -= old.body.length;
    }
  }
}
