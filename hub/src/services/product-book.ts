// Weights of products as this hub knows them. A copy of the ledger's: other hubs say when something changed, and a look
// every second finds it anyway.
import type { LaneKey } from "../domain/lane.js";
import type { ScoreWeights } from "../domain/score-weights.js";
import type { Ledger } from "../ledger/ledger.js";
import { Rounds } from "./rounds.js";

const lookIntervalMs = 1_000;
/** A change may commit this long after its time was taken. */
const commitLagMs = 60_000;
const none: Partial<ScoreWeights> = {};

interface KnownWeights {
  readonly weights: Partial<ScoreWeights>;
  readonly changedAtMs: number;
}

export class ProductBook {
  readonly #ledger: Pick<Ledger, "readProductsSince">;
  readonly #rounds: Rounds;
  /** By tenant and name. */
  readonly #known = new Map<string, KnownWeights>();
  #lookedAtMs = 0;
  #onChange: () => void = () => undefined;

  constructor(ledger: Pick<Ledger, "readProductsSince">, onError: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#rounds = new Rounds(() => this.load(), lookIntervalMs, onError);
  }

  /** What was set for the product of a lane. */
  weightsOf({ tenantId, product }: Pick<LaneKey, "tenantId" | "product">): Partial<ScoreWeights> {
    return this.#known.get(`${tenantId} ${product}`)?.weights ?? none;
  }

  /** Called after each change. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  async load(): Promise<void> {
    const { products, nowMs } = await this.#ledger.readProductsSince(this.#lookedAtMs);
    let isChanged = false;
    for (const { tenantId, name, weights, changedAtMs } of products) {
      const key = `${tenantId} ${name}`;
      if ((changedAtMs ?? 0) <= (this.#known.get(key)?.changedAtMs ?? -1)) continue;
      this.#known.set(key, { weights, changedAtMs: changedAtMs ?? 0 });
      isChanged = true;
    }
    this.#lookedAtMs = nowMs - commitLagMs;
    if (isChanged) this.#onChange();
  }

  start(): void {
    this.#rounds.start();
  }

  lookNow(): void {
    this.#rounds.hurry();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }
}
