/**
 * Leases messages of one session leave in the order of their delivery numbers, whatever order the ledger answers in:
 * the worker acknowledges all up to a number, so a later one must not be sent before an earlier one. A number
 * whose claim came to nothing is passed over.
 */
export class DeliveryOrder {
  readonly #open: { readonly delivery: number; send: (() => void) | null }[] = [];

  begin(delivery: number): void {
    this.#open.push({ delivery, send: null });
  }

  /** The ledger has answered: `send` runs as soon as all earlier ones have run. */
  end(delivery: number, send: () => void): void {
    const own = this.#open.find((open) => open.delivery === delivery);
    if (own) own.send = send;
    for (let first = this.#open[0]; first?.send; first = this.#open[0]) {
      this.#open.shift();
      first.send();
    }
  }

  /** How many the ledger has not answered, or that wait for an earlier one. */
  get size(): number {
    return this.#open.length;
  }
}
