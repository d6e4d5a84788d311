import { Fault } from "../domain/fault.js";
import type { FailedSignal } from "../ledger/signal-cursors.js";

const waitingMax = 10_000;

/** Signals that a consumer could not take: how often, which are to come again and when, and which are dead letters. */
export class RefusedSignals {
  readonly #wake: () => void;
  readonly #dead: ReadonlySet<number>;
  readonly #failures: Map<number, number>;
  /** Those to come again; null: now. */
  readonly #waiting = new Map<number, NodeJS.Timeout | null>();

  /** @param wake is called when a signal may come again */
  constructor(failed: readonly FailedSignal[], wake: () => void) {
    this.#wake = wake;
    this.#dead = new Set(failed.filter(({ isDead }) => isDead).map(({ sequence }) => sequence));
    this.#failures = new Map(failed.map(({ sequence, failures }) => [sequence, failures]));
  }

  /** It went to the dead-letter channel before this stream was opened. */
  isDead(sequence: number): boolean {
    return this.#dead.has(sequence);
  }

  /** The last of the sequences up to a bound that no dead letter interrupts. */
  boundBeforeDead(next: number, bound: number): number {
    let before = bound;
    for (const sequence of this.#dead) if (sequence > next && sequence <= before) before = sequence - 1;
    return before;
  }

  /** How often the consumer could not take it, this time included; null when it waits already. */
  countFailure(sequence: number): number | null {
    if (this.#waiting.has(sequence)) return null;
    if (this.#waiting.size >= waitingMax)
      throw new Fault("INVALID_FIELD", `More than ${waitingMax} signals wait to be delivered again.`, {
        field: "nack",
      });
    const failures = (this.#failures.get(sequence) ?? 0) + 1;
    this.#failures.set(sequence, failures);
    return failures;
  }

  deliverAgain(sequence: number, delayMs: number): void {
    const due = () => {
      this.#waiting.set(sequence, null);
      this.#wake();
    };
    if (delayMs <= 0) due();
    else this.#waiting.set(sequence, setTimeout(due, delayMs));
  }

  takeDue(): number | undefined {
    for (const [sequence, timer] of this.#waiting) {
      if (timer !== null) continue;
      this.#waiting.delete(sequence);
      return sequence;
    }
    return undefined;
  }

  /** Forgets those that the consumer is done with. */
  forget(isDone: (sequence: number) => boolean): void {
    for (const sequence of this.#failures.keys()) if (isDone(sequence)) this.#failures.delete(sequence);
    for (const [sequence, timer] of this.#waiting) {
      if (!isDone(sequence)) continue;
      clearTimeout(timer ?? undefined);
      this.#waiting.delete(sequence);
    }
  }
}
