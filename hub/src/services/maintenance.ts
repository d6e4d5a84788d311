import type { Ledger } from "../ledger/ledger.js";

const intervalMs = 3_600_000;

/** Keeps the partitions of the coming days made. They are made days ahead, so a missed hour harms nothing. */
export class Maintenance {
  readonly #ledger: Pick<Ledger, "ensurePartitions">;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(ledger: Pick<Ledger, "ensurePartitions">, onError: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#onError = onError;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running = this.#ledger.ensurePartitions().catch(this.#onError);
    }, intervalMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
