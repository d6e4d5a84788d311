import { trimThrough } from "../domain/signal-retention.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import type { TrimCandidate } from "../ledger/trim-signals.js";

const partitionsPerRead = 200;
const pagesPerTrim = 2_000;

/** Trims channels by their policies, one partition after the other, again and again. */
export class SignalRetention {
  readonly #ledger: Pick<SignalLedger, "listTrimCandidates" | "readOldestPages" | "trim">;
  readonly #intervalMs: number;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #trimming: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(
    ledger: Pick<SignalLedger, "listTrimCandidates" | "readOldestPages" | "trim">,
    intervalMs: number,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#intervalMs = intervalMs;
    this.#onError = onError;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#trimming = this.trimAll()
        .catch(this.#onError)
        .then(() => this.start());
    }, this.#intervalMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#trimming;
  }

  async trimAll(): Promise<void> {
    let after = { channelId: 0, partition: 0 };
    for (;;) {
      const candidates = await this.#ledger.listTrimCandidates(after, partitionsPerRead);
      for (const candidate of candidates) {
        if (this.#isStopped) return;
        await this.#trim(candidate);
      }
      const last = candidates.at(-1);
      if (!last || candidates.length < partitionsPerRead) return;
      after = last;
    }
  }

  async #trim(candidate: TrimCandidate): Promise<void> {
    const { channelId, partition, trimPastCursors } = candidate;
    const pages = await this.#ledger.readOldestPages(channelId, partition, pagesPerTrim);
    const through = trimThrough(pages, candidate, candidate);
    if (through > 0) await this.#ledger.trim(channelId, partition, through, trimPastCursors);
  }
}
