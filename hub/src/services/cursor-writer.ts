import { Fault } from "../domain/fault.js";
import type { MoveItem } from "../ledger/move-cursors.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";

export type CursorPlace = Pick<MoveItem, "ackedThrough" | "deliveredThrough">;

/** What was acknowledged waits this long for a write that somebody waits for. */
const acknowledgedSoonMs = 20;

/**
 * Writes one cursor, one write at a time: whatever changes meanwhile joins the next, and of several checkpoints only
 * the newest is saved. Nobody waits for what was acknowledged, so it goes with what is delivered next, or soon.
 */
export class CursorWriter {
  readonly #ledger: Pick<SignalLedger, "moveCursor">;
  readonly #cursor: { readonly cursorId: number; readonly epoch: number };
  readonly #onDurable: (item: MoveItem, before: CursorPlace) => void;
  readonly #onFault: (error: unknown) => void;
  #durable: CursorPlace;
  #wanted: CursorPlace;
  #checkpoint: MoveItem["checkpoint"] = null;
  #writing: Promise<void> | null = null;
  #isAwaited = false;
  #fault: unknown = null;
  #soon: NodeJS.Timeout | undefined;

  constructor(
    ledger: Pick<SignalLedger, "moveCursor">,
    cursor: { readonly cursorId: number; readonly epoch: number } & CursorPlace,
    onDurable: (item: MoveItem, before: CursorPlace) => void,
    onFault: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#cursor = cursor;
    this.#durable = cursor;
    this.#wanted = cursor;
    this.#onDurable = onDurable;
    this.#onFault = onFault;
  }

  acknowledged(through: number): void {
    this.#want({ ackedThrough: through, deliveredThrough: 0 });
    if (!this.#writing) this.#beginSoon();
  }

  save(checkpoint: NonNullable<MoveItem["checkpoint"]>): void {
    this.#checkpoint = checkpoint;
    this.#begin();
  }

  /**
   * Resolves once it is durable that signals up to this one were delivered.
   *
   * @throws what the write failed with: SUPERSEDED when a newer stream attached
   */
  async delivered(through: number): Promise<void> {
    this.#want({ ackedThrough: 0, deliveredThrough: through });
    this.#begin();
    while (this.#durable.deliveredThrough < through && this.#writing) await this.#writing;
    if (this.#durable.deliveredThrough < through) throw this.#fault;
  }

  /** Writes what is to be written; resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    this.#begin();
    while (this.#writing) await this.#writing;
  }

  /** Neither falls. */
  #want({ ackedThrough, deliveredThrough }: CursorPlace): void {
    const acked = Math.max(ackedThrough, this.#wanted.ackedThrough);
    this.#wanted = {
      ackedThrough: acked,
      deliveredThrough: Math.max(deliveredThrough, this.#wanted.deliveredThrough, acked),
    };
  }

  #isClean(): boolean {
    return (
      this.#checkpoint === null &&
      this.#durable.ackedThrough === this.#wanted.ackedThrough &&
      this.#durable.deliveredThrough === this.#wanted.deliveredThrough
    );
  }

  #beginSoon(): void {
    this.#soon ??= setTimeout(() => this.#begin(), acknowledgedSoonMs);
  }

  #begin(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    if (this.#writing) {
      this.#isAwaited = true;
      return;
    }
    if (this.#isClean() || this.#fault !== null) return;
    this.#isAwaited = false;
    this.#writing = this.#write()
      .then(() => {
        this.#writing = null;
        if (this.#isAwaited) this.#begin();
        else if (!this.#isClean()) this.#beginSoon();
      })
      .catch((error: unknown) => {
        this.#writing = null;
        this.#fault = error;
        this.#onFault(error);
      });
  }

  async #write(): Promise<void> {
    const item: MoveItem = { ...this.#cursor, ...this.#wanted, checkpoint: this.#checkpoint };
    this.#checkpoint = null;
    if ((await this.#ledger.moveCursor(item)) === "superseded") throw superseded();
    const before = this.#durable;
    this.#durable = item;
    this.#onDurable(item, before);
  }
}

export function superseded(): Fault {
  return new Fault("SUPERSEDED", "A newer stream of this consumer attached, or its cursor was reset.");
}
