import type { Ledger } from "../ledger/ledger.js";

const intervalMs = 3_600_000;
const keyIdleMs = 86_400_000;
const keysPerTurnMax = 100_000;

/**
 * Keeps the partitions of the coming days made, and forgets declared keys that nobody uses. Partitions are made days
 * ahead, so a missed hour harms nothing.
 */
export class Maintenance {
  readonly #ledger: Pick<Ledger, "ensurePartitions" | "forgetIdleKeys">;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(
    ledger: Pick<Ledger, "ensurePartitions" | "forgetIdleKeys">,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#onError = onError;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running = this.#turn().catch(this.#onError);
    }, intervalMs);
  }

  async #turn(): Promise<void> {
    await this.#ledger.ensurePartitions();
    await this.#ledger.forgetIdleKeys(keyIdleMs, keysPerTurnMax);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
