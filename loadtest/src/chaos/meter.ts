import { nowMs } from "../wall-clock.js";
import type { World } from "./world.js";

const sampleEveryMs = 100;

/** Watches how many results are committed, so that it can be told what a fault did to that. */
export class Meter {
  readonly #world: World;
  readonly #samples: { readonly atMs: number; readonly settled: number }[] = [];
  readonly #timer: NodeJS.Timeout;
  #isBusy = false;

  constructor(world: World) {
    this.#world = world;
    this.#timer = setInterval(() => void this.#sample(), sampleEveryMs);
  }

  /** Results whose verdict said that they are written. */
  get settled(): number {
    return this.#samples.at(-1)?.settled ?? 0;
  }

  /** The longest time without a result between two moments, as far as samples tell. */
  longestPauseMs(fromMs: number, toMs: number): number {
    let lastAtMs = fromMs;
    let last = -1;
    let longestMs = 0;
    for (const { atMs, settled } of this.#samples) {
      if (atMs < fromMs || atMs > toMs) continue;
      if (settled > last) {
        longestMs = Math.max(longestMs, atMs - lastAtMs);
        lastAtMs = atMs;
        last = settled;
      }
    }
    return longestMs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #sample(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      const { committed, duplicate } = await this.#world.counts();
      this.#samples.push({ atMs: nowMs(), settled: committed + duplicate });
    } catch {
      // Whoever waits for the results is told what became of the workers.
    } finally {
      this.#isBusy = false;
    }
  }
}
