// The gates as this hub knows them, and the epoch that they are of. A copy of the ledger's: other hubs say when it
// changed, a look every second finds it anyway, and a claim under an older epoch is granted nothing.
import type { Gate } from "../domain/gate.js";
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
    const { epoch, gates } = await this.#ledger.readGates();
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
    if (this.#isOutdated || (await this.#ledger.readGateEpoch()) !== this.#epoch) await this.load();
  }
}
