import type { ForwardStatus } from "../domain/forwarded-event.js";
import type { Ledger } from "../ledger/ledger.js";

const cursorsMax = 100;

/** What operators see of events on their way to the sink of this hub. */
export class Forwarding {
  readonly #ledger: Pick<Ledger, "readForwarding">;
  readonly #sink: string | null;

  /** @param sink name of the hub's sink; null when it forwards nowhere */
  constructor(ledger: Pick<Ledger, "readForwarding">, sink: string | null) {
    this.#ledger = ledger;
    this.#sink = sink;
  }

  async status(): Promise<{ readonly sink: string | null; readonly cursors: readonly ForwardStatus[] }> {
    const cursors = this.#sink === null ? [] : await this.#ledger.readForwarding(this.#sink, cursorsMax);
    return { sink: this.#sink, cursors };
  }
}
