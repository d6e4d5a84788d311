import { Fault } from "../domain/fault.js";
import type { MoveItem } from "../ledger/move-cursors.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";

export type CursorPlace = Pick<MoveItem, "ackedThrough" | "deliveredThrough">;

/**
 * Writes one cursor, one write at a time: whatever changes meanwhile joins the next, and of several checkpoints only
 * the newest is saved.
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

  /** Neither falls. */
  move(ackedThrough: number, deliveredThrough: number): void {
    this.#wanted = {
      ackedThrough: Math.max(ackedThrough, this.#wanted.ackedThrough),
      deliveredThrough: Math.max(deliveredThrough, this.#wanted.deliveredThrough),
    };
    this.#begin();
  }

  save(checkpoint: NonNullable<MoveItem["checkpoint"]>): void {
    this.#checkpoint = checkpoint;
    this.#begin();
  }

  /**
   * Resolves once it is durable that signals up to this one were delivered.
   *
   * @throws Fault SUPERSEDED
   */
  async delivered(through: number): Promise<void> {
    this.move(0, through);
    while (this.#durable.deliveredThrough < through && this.#writing) await this.#writing;
    if (this.#durable.deliveredThrough < through)
      throw new Fault("LEDGER_UNAVAILABLE", "The cursor could not be written.", {}, { retryAfterMs: 1_000 });
  }

  /** Resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  #isClean(): boolean {
    return (
      this.#checkpoint === null &&
      this.#durable.ackedThrough === this.#wanted.ackedThrough &&
      this.#durable.deliveredThrough === this.#wanted.deliveredThrough
    );
  }

  #begin(): void {
    if (this.#writing || this.#isClean()) return;
    this.#writing = this.#write()
      .then(() => {
        this.#writing = null;
        this.#begin();
      })
      .catch((error: unknown) => {
        this.#writing = null;
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
