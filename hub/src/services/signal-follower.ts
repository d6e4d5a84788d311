// One consumer in one partition: what it is sent next, and how far it got.
//
//   restoring ──all that was stored at the attach is sent──► live
//
// Invariants
//  1. Signals go out in order of their sequence, each once per stream, but for those that the consumer refused.
//  2. A durable consumer's signals are noted as delivered before they are sent: so none comes again unmarked (D14).
//  3. What will not come is announced as a gap, and the cursor passes it (D15).
import {
  acknowledge,
  type Cursor,
  isAcknowledged,
  noteSent,
  openCursor,
  type SequenceRange,
} from "../domain/cursor.js";
import { Fault } from "../domain/fault.js";
import { type Allowance, packPages, type SignalPage } from "../domain/signal-page.js";
import type { AttachedCursor, FailedSignal } from "../ledger/signal-cursors.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { CursorWriter } from "./cursor-writer.js";
import { RefusedSignals } from "./refused-signals.js";
import type { GapReason, SubscriptionMessage } from "./signal-messages.js";
import type { Tail } from "./signal-router.js";
import { SignalSource, type SourceLedger } from "./signal-source.js";

const messageSignalsMax = 5_000;
const unbounded: Allowance = { signals: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

export interface FollowerParts {
  readonly ledger: SourceLedger & Pick<SignalLedger, "moveCursor">;
  /** Says something beside the signals. */
  readonly say: (message: SubscriptionMessage) => void;
  readonly fail: (error: unknown) => void;
  /** Something may be sent that could not before. */
  readonly wake: () => void;
  /** How far a follower of a best-effort channel may be behind; null for at least once. */
  readonly lagMax: number | null;
}

/** A message of signals and what it costs. */
export interface Parcel extends Allowance {
  readonly message: Extract<SubscriptionMessage, { type: "signals" }>;
}

export class SignalFollower {
  readonly #parts: FollowerParts;
  readonly #tail: Tail;
  readonly #source: SignalSource;
  readonly #writer: CursorWriter | null;
  readonly attached: AttachedCursor | null;
  readonly #refused: RefusedSignals;
  readonly #catchUpTo: number;
  #isCaughtUp = false;
  #cursor: Cursor;
  #position: number;
  #checkpointSequence: number | null;

  constructor(
    parts: FollowerParts,
    tail: Tail,
    from: {
      readonly position: number;
      readonly attached: AttachedCursor | null;
      readonly failed: readonly FailedSignal[];
    },
  ) {
    const { attached, position } = from;
    this.#parts = parts;
    this.#tail = tail;
    this.#source = new SignalSource(parts.ledger, tail);
    this.#position = position;
    this.#catchUpTo = tail.lastSequence;
    this.attached = attached;
    this.#checkpointSequence = attached?.checkpointSequence ?? null;
    this.#cursor = openCursor(attached?.ackedThrough ?? position, attached?.deliveredThrough ?? position);
    this.#refused = new RefusedSignals(from.failed, parts.wake);
    this.#writer = attached && this.#writerOf(attached);
  }

  get partition(): number {
    return this.#tail.partition;
  }

  get lag(): number {
    return this.#tail.lastSequence - this.#position;
  }

  /** The next message of signals within an allowance; null when there is none for now. What it says goes before it. */
  async next(allowance: Allowance): Promise<Parcel | null> {
    for (;;) {
      const again = await this.#nextRefused();
      if (again) return again;
      this.#skipLag();
      this.#sayCaughtUp();
      const next = this.#position + 1;
      if (next > this.#tail.lastSequence) return null;
      if (this.#refused.isDead(next)) {
        this.#skip(next, "dead_lettered");
        continue;
      }
      const isRedelivered = next <= (this.attached?.deliveredThrough ?? 0);
      if (!isRedelivered && allowance.signals < 1) return null;
      const found = await this.#source.pagesFrom(next);
      if (found.type === "pages") return await this.#pack(found.pages, next, isRedelivered, allowance);
      this.#skip(found.firstHeld - 1, "cursor_too_old");
    }
  }

  /** @throws Fault ACK_BEYOND_SENT, and then nothing changed (D13) */
  acknowledge(ranges: readonly SequenceRange[]): void {
    const outcome = acknowledge(this.#cursor, ranges);
    switch (outcome.type) {
      case "beyond_sent":
        throw beyondSent(outcome.sequence, this.#cursor.sentThrough);
      case "too_many_ranges":
        throw new Fault(
          "INVALID_FIELD",
          "Too many signals are acknowledged out of order: close some holes first.",
          { field: "ack.ranges" },
        );
      case "acknowledged": {
        const before = this.#cursor.ackedThrough;
        this.#cursor = outcome.cursor;
        this.#refused.forget((sequence) => isAcknowledged(outcome.cursor, sequence));
        if (outcome.cursor.ackedThrough > before) this.#writer?.acknowledged(outcome.cursor.ackedThrough);
      }
    }
  }

  /** Saves a state; the cursor moves with it. */
  save(sequence: number, state: Uint8Array): void {
    if (sequence > this.#cursor.sentThrough) throw beyondSent(sequence, this.#cursor.sentThrough);
    if (sequence < (this.#checkpointSequence ?? 0))
      throw new Fault(
        "CHECKPOINT_BEHIND",
        `A checkpoint at ${this.#checkpointSequence} was saved before; ${sequence} lies behind it.`,
        { sequence: String(sequence), newest: String(this.#checkpointSequence) },
      );
    this.#checkpointSequence = sequence;
    const { ackedThrough } = this.#cursor;
    if (sequence > ackedThrough) this.acknowledge([{ first: ackedThrough + 1, last: sequence }]);
    this.#writer?.save({ sequence, state });
  }

  /** How often the consumer could not take a signal, this time included; null when it is done with it, or it waits. */
  countFailure(sequence: number): number | null {
    if (sequence > this.#cursor.sentThrough) throw beyondSent(sequence, this.#cursor.sentThrough);
    return isAcknowledged(this.#cursor, sequence) ? null : this.#refused.countFailure(sequence);
  }

  deliverAgain(sequence: number, delayMs: number): void {
    this.#refused.deliverAgain(sequence, delayMs);
  }

  /** It went to the dead-letter channel, or retention trimmed it: that is as good as an acknowledgement. */
  passOver(sequence: number, reason: "dead_lettered" | "cursor_too_old"): void {
    this.#sayGap(sequence, sequence, reason);
    this.acknowledge([{ first: sequence, last: sequence }]);
  }

  /** The page that holds one signal, cut to it; null when it is not held any more. */
  readOne(sequence: number): Promise<SignalPage | null> {
    return this.#source.readOne(sequence);
  }

  /** Resolves when what was acknowledged and saved is written. */
  async settled(): Promise<void> {
    await this.#writer?.settled();
  }

  /** Writes what was acknowledged, then lets go. */
  async leave(): Promise<void> {
    this.#tail.leave();
    this.#refused.forget(() => true);
    await this.settled();
  }

  #writerOf(attached: AttachedCursor): CursorWriter {
    const { partition } = this;
    const { ledger, say, fail } = this.#parts;
    return new CursorWriter(
      ledger,
      attached,
      ({ ackedThrough, checkpoint }, before) => {
        if (ackedThrough > before.ackedThrough) say({ type: "cursor", partition, ackedThrough });
        if (checkpoint) say({ type: "checkpoint_saved", partition, sequence: checkpoint.sequence });
      },
      fail,
    );
  }

  async #pack(
    pages: readonly SignalPage[],
    next: number,
    isRedelivered: boolean,
    allowance: Allowance,
  ): Promise<Parcel | null> {
    const packed = packPages(
      pages,
      next,
      this.#boundAfter(next, isRedelivered),
      isRedelivered ? unbounded : allowance,
    );
    const last = packed.pages.at(-1)?.lastSequence;
    if (last === undefined) return null;
    if (last > (this.attached?.deliveredThrough ?? 0)) await this.#writer?.delivered(last);
    this.#position = last;
    this.#cursor = noteSent(this.#cursor, last);
    const message = {
      type: "signals" as const,
      partition: this.partition,
      isRedelivered,
      pages: packed.pages,
    };
    // What comes again costs nothing.
    return isRedelivered ? { message, signals: 0, bytes: 0 } : { ...packed, message };
  }

  async #nextRefused(): Promise<Parcel | null> {
    for (let due = this.#refused.takeDue(); due !== undefined; due = this.#refused.takeDue()) {
      const page = await this.readOne(due);
      const { partition } = this;
      if (page)
        return {
          message: { type: "signals", partition, isRedelivered: true, pages: [page] },
          signals: 0,
          bytes: 0,
        };
      this.passOver(due, "cursor_too_old");
    }
    return null;
  }

  /** The last sequence that one message may hold: it must not mix what was delivered before with what was not. */
  #boundAfter(next: number, isRedelivered: boolean): number {
    const bound = next + messageSignalsMax - 1;
    const alike = isRedelivered ? Math.min(bound, this.attached?.deliveredThrough ?? bound) : bound;
    return this.#refused.boundBeforeDead(next, alike);
  }

  #skipLag(): void {
    const { lagMax } = this.#parts;
    if (lagMax !== null && this.#isCaughtUp && this.lag > lagMax)
      this.#skip(this.#tail.lastSequence, "lagged");
  }

  #skip(through: number, reason: GapReason): void {
    const firstMissing = this.#position + 1;
    this.#position = through;
    this.#sayGap(firstMissing, through, reason);
    this.#cursor = noteSent(this.#cursor, through);
    this.acknowledge([{ first: firstMissing, last: through }]);
  }

  #sayGap(firstMissing: number, lastMissing: number, reason: GapReason): void {
    this.#parts.say({ type: "gap", partition: this.partition, firstMissing, lastMissing, reason });
  }

  #sayCaughtUp(): void {
    if (this.#isCaughtUp || this.#position < this.#catchUpTo) return;
    this.#isCaughtUp = true;
    this.#parts.say({ type: "caught_up", partition: this.partition, sequence: this.#position });
  }
}

function beyondSent(sequence: number, sentThrough: number): Fault {
  return new Fault(
    "ACK_BEYOND_SENT",
    `Signal ${sequence} was never sent to this consumer; the last that was is ${sentThrough}.`,
    { sequence: String(sequence), sent_through: String(sentThrough) },
  );
}
