// The gates as this hub knows them, the epoch that they are of, and the clock that they go by. A copy of the ledger's:
// other hubs say when it changed, a look every second finds it anyway, and a claim under an older epoch is granted nothing.
import type { Gate } from "../domain/gate.js";
import type { GateEpoch } from "../ledger/gates.js";
import type { Ledger } from "../ledger/ledger.js";
import { Rounds } from "./rounds.js";

const lookIntervalMs = 1_000;

export class GateBook {
  readonly #ledger: Pick<Ledger, "readGates" | "readGateEpoch">;
  readonly #rounds: Rounds;
  readonly #listeners: (() => void)[] = [];
  readonly #byId = new Map<number, Gate>();
  #epoch = 0;
  #isOutdated = false;
  /** How far the ledger's clock is ahead of this machine's monotonic one; before the first answer, as the wall clock is. */
  #aheadMs = Date.now() - performance.now();

  constructor(ledger: Pick<Ledger, "readGates" | "readGateEpoch">, onError: (error: unknown) => void) {
    this.#ledger = ledger;
    this.#rounds = new Rounds(() => this.#look(), lookIntervalMs, onError);
  }

  /** What claims are made under. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Claims under the epoch would be refused. */
  get isOutdated(): boolean {
    return this.#isOutdated;
  }

  /** What the ledger's clock shows, in whole milliseconds: by it gates open and shut, on every hub. */
  ledgerNowMs(): number {
    return Math.floor(performance.now() + this.#aheadMs);
  }

  /** Somebody found that the ledger's epoch is another. */
  outdated(): void {
    this.#isOutdated = true;
    this.#rounds.hurry();
  }

  all(): IterableIterator<Gate> {
    return this.#byId.values();
  }

  get(gateId: number): Gate | undefined {
    return this.#byId.get(gateId);
  }

  /** Called after each change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async load(): Promise<void> {
    const { epoch, gates } = await this.#timed(() => this.#ledger.readGates());
    if (epoch < this.#epoch) return;
    this.#epoch = epoch;
    this.#isOutdated = false;
    this.#byId.clear();
    for (const gate of gates) this.#byId.set(gate.gateId, gate);
    for (const listener of this.#listeners) listener();
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

  async #look(): Promise<void> {
    if (this.#isOutdated || (await this.#readEpoch()) !== this.#epoch) await this.load();
  }

  async #readEpoch(): Promise<number> {
    return (await this.#timed(() => this.#ledger.readGateEpoch())).epoch;
  }

  /** An answer tells the ledger's clock as of some moment between question and answer: a slow one corrects little. */
  async #timed<Answer extends GateEpoch>(ask: () => Promise<Answer>): Promise<Answer> {
    const askedAtMs = performance.now();
    const answer = await ask();
    const atMost = answer.nowMs - askedAtMs;
    const atLeast = answer.nowMs - performance.now();
    this.#aheadMs = Math.min(Math.max(this.#aheadMs, atLeast), atMost);
    return answer;
  }
}
