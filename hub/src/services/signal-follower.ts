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
import { lastWithin, type SignalPage, slicePage } from "../domain/signal-page.js";
import type { AttachedCursor, FailedSignal } from "../ledger/signal-cursors.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { CursorWriter } from "./cursor-writer.js";
import type { GapReason, SubscriptionMessage } from "./signal-messages.js";
import type { Tail } from "./signal-router.js";

const readBytes = 512 << 10;
const messageSignalsMax = 5_000;
const refusedMax = 10_000;

export interface FollowerParts {
  readonly ledger: Pick<SignalLedger, "readSignals" | "readHeads" | "moveCursor">;
  /** Says something beside the signals. */
  readonly say: (message: SubscriptionMessage) => void;
  readonly fail: (error: unknown) => void;
  /** Something may be sent that could not before. */
  readonly wake: () => void;
  /** How far a follower of a best-effort channel may be behind; null for at least once. */
  readonly lagMax: number | null;
}

/** What is outstanding may still be sent. */
export interface Allowance {
  readonly signals: number;
  readonly bytes: number;
}

/** A message of signals and what it costs. */
export interface Parcel {
  readonly message: Extract<SubscriptionMessage, { type: "signals" }>;
  readonly signals: number;
  readonly bytes: number;
}

export class SignalFollower {
  readonly #parts: FollowerParts;
  readonly #tail: Tail;
  readonly #writer: CursorWriter | null;
  readonly attached: AttachedCursor | null;
  readonly #dead: Set<number>;
  readonly #failures: Map<number, number>;
  readonly #refused = new Map<number, NodeJS.Timeout | null>();
  readonly #catchUpTo: number;
  #isCaughtUp = false;
  #cursor: Cursor;
  #position: number;
  #checkpointSequence: number | null;
  #read: SignalPage[] = [];

  constructor(
    parts: FollowerParts,
    tail: Tail,
    from: {
      readonly position: number;
      readonly attached: AttachedCursor | null;
      readonly failed: readonly FailedSignal[];
    },
  ) {
    this.#parts = parts;
    this.#tail = tail;
    this.#position = from.position;
    this.#catchUpTo = tail.lastSequence;
    this.attached = from.attached;
    this.#checkpointSequence = from.attached?.checkpointSequence ?? null;
    this.#cursor = openCursor(
      from.attached?.ackedThrough ?? from.position,
      from.attached?.deliveredThrough ?? from.position,
    );
    this.#dead = new Set(from.failed.filter(({ isDead }) => isDead).map(({ sequence }) => sequence));
    this.#failures = new Map(from.failed.map(({ sequence, failures }) => [sequence, failures]));
    this.#writer =
      from.attached &&
      new CursorWriter(
        parts.ledger,
        from.attached,
        (item, before) => {
          if (item.ackedThrough > before.ackedThrough)
            parts.say({ type: "cursor", partition: tail.partition, ackedThrough: item.ackedThrough });
          if (item.checkpoint)
            parts.say({
              type: "checkpoint_saved",
              partition: tail.partition,
              sequence: item.checkpoint.sequence,
            });
        },
        parts.fail,
      );
  }

  get partition(): number {
    return this.#tail.partition;
  }

  get lag(): number {
    return this.#tail.lastSequence - this.#position;
  }

  /** The next message of signals within an allowance; null when there is none for now. What it says goes before it. */
  async next(allowance: Allowance): Promise<Parcel | null> {
    const again = await this.#nextRefused();
    if (again) return again;
    this.#skipLag();
    this.#sayCaughtUp();
    const next = this.#position + 1;
    if (next > this.#tail.lastSequence) return null;
    if (this.#dead.has(next)) {
      this.#skip(next, "dead_lettered");
      return await this.next(allowance);
    }
    const isRedelivered = next <= (this.attached?.deliveredThrough ?? 0);
    if (!isRedelivered && allowance.signals < 1) return null;
    const pages = await this.#pagesFrom(next);
    if (!pages) return await this.next(allowance);
    const bound = this.#boundAfter(next, isRedelivered);
    const parcel = pack(pages, next, bound, isRedelivered ? null : allowance);
    const last = parcel.pages.at(-1)?.lastSequence;
    if (last === undefined) return null;
    await this.#noteDelivered(last);
    this.#position = last;
    this.#cursor = noteSent(this.#cursor, last);
    return {
      message: { type: "signals", partition: this.partition, isRedelivered, pages: parcel.pages },
      signals: isRedelivered ? 0 : parcel.signals,
      bytes: isRedelivered ? 0 : parcel.bytes,
    };
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
          {
            field: "ack.ranges",
          },
        );
      case "acknowledged": {
        const before = this.#cursor.ackedThrough;
        this.#cursor = outcome.cursor;
        for (const sequence of this.#refused.keys())
          if (isAcknowledged(this.#cursor, sequence)) this.#forget(sequence);
        if (outcome.cursor.ackedThrough > before)
          this.#writer?.move(outcome.cursor.ackedThrough, outcome.cursor.sentThrough);
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

  /** How often the consumer could not take a signal, this time included; null when it is done with it. */
  countFailure(sequence: number): number | null {
    if (sequence > this.#cursor.sentThrough) throw beyondSent(sequence, this.#cursor.sentThrough);
    if (isAcknowledged(this.#cursor, sequence) || this.#refused.has(sequence)) return null;
    if (this.#refused.size >= refusedMax)
      throw new Fault("INVALID_FIELD", `More than ${refusedMax} signals wait to be delivered again.`, {
        field: "nack",
      });
    const failures = (this.#failures.get(sequence) ?? 0) + 1;
    this.#failures.set(sequence, failures);
    return failures;
  }

  deliverAgain(sequence: number, delayMs: number): void {
    const due = () => {
      this.#refused.set(sequence, null);
      this.#parts.wake();
    };
    if (delayMs <= 0) due();
    else this.#refused.set(sequence, setTimeout(due, delayMs));
  }

  /** It went to the dead-letter channel: that is as good as an acknowledgement. */
  buried(sequence: number): void {
    this.#parts.say({
      type: "gap",
      partition: this.partition,
      firstMissing: sequence,
      lastMissing: sequence,
      reason: "dead_lettered",
    });
    this.acknowledge([{ first: sequence, last: sequence }]);
  }

  /** The page that holds one signal, cut to it; null when it is not held any more. */
  async readOne(sequence: number): Promise<SignalPage | null> {
    const inWindow = this.#tail.pageWith(sequence);
    const [page] = inWindow ? [inWindow] : await this.#readFrom(sequence, 1);
    return page && page.firstSequence <= sequence ? slicePage(page, sequence, sequence) : null;
  }

  /** Resolves when what was acknowledged and saved is written. */
  async settled(): Promise<void> {
    await this.#writer?.settled();
  }

  /** Writes what was acknowledged, then lets go. */
  async leave(): Promise<void> {
    this.#tail.leave();
    for (const sequence of [...this.#refused.keys()]) this.#forget(sequence);
    await this.settled();
  }

  async #nextRefused(): Promise<Parcel | null> {
    for (const [sequence, timer] of this.#refused) {
      if (timer !== null) continue;
      this.#forget(sequence);
      const page = await this.readOne(sequence);
      if (!page) continue;
      return {
        message: { type: "signals", partition: this.partition, isRedelivered: true, pages: [page] },
        signals: 0,
        bytes: 0,
      };
    }
    return null;
  }

  #forget(sequence: number): void {
    clearTimeout(this.#refused.get(sequence) ?? undefined);
    this.#refused.delete(sequence);
  }

  /** Pages from a sequence on, or null after it turned out that history begins later. */
  async #pagesFrom(sequence: number): Promise<readonly SignalPage[] | null> {
    const live = this.#tail.pageWith(sequence);
    if (live) return this.#livePages(live);
    const [first] = this.#read;
    if (!first || first.firstSequence > sequence || first.lastSequence < sequence)
      this.#read = await this.#readFrom(sequence, readBytes);
    const [held] = this.#read;
    if (held && held.firstSequence <= sequence) return this.#read;
    const firstHeld = held ? held.firstSequence : await this.#firstHeld();
    if (firstHeld <= sequence)
      throw new Error(
        `Sequence ${sequence} of channel ${this.#tail.channelId}/${this.partition} is neither held nor trimmed.`,
      );
    this.#skip(firstHeld - 1, "cursor_too_old");
    return null;
  }

  #livePages(first: SignalPage): SignalPage[] {
    this.#read = [];
    const pages = [first];
    let signals = first.lastSequence - first.firstSequence + 1;
    let bytes = first.body.length;
    for (;;) {
      const page = this.#tail.pageWith((pages.at(-1) as SignalPage).lastSequence + 1);
      if (!page || signals >= messageSignalsMax || bytes >= readBytes) return pages;
      pages.push(page);
      signals += page.lastSequence - page.firstSequence + 1;
      bytes += page.body.length;
    }
  }

  #readFrom(sequence: number, bytes: number): Promise<SignalPage[]> {
    return this.#parts.ledger.readSignals(this.#tail.channelId, this.partition, sequence, bytes);
  }

  async #firstHeld(): Promise<number> {
    const heads = await this.#parts.ledger.readHeads([this.#tail.channelId]);
    return heads.find(({ partition }) => partition === this.partition)?.firstSequence ?? 1;
  }

  /** The last sequence that one message may hold: it must not mix what was delivered before with what was not. */
  #boundAfter(next: number, isRedelivered: boolean): number {
    let bound = next + messageSignalsMax - 1;
    if (isRedelivered) bound = Math.min(bound, this.attached?.deliveredThrough ?? bound);
    for (const sequence of this.#dead) if (sequence > next && sequence <= bound) bound = sequence - 1;
    return bound;
  }

  async #noteDelivered(through: number): Promise<void> {
    if (this.#writer && through > (this.attached?.deliveredThrough ?? 0))
      await this.#writer.delivered(through);
  }

  #skipLag(): void {
    const { lagMax } = this.#parts;
    if (lagMax !== null && this.#isCaughtUp && this.lag > lagMax)
      this.#skip(this.#tail.lastSequence, "lagged");
  }

  #skip(through: number, reason: GapReason): void {
    const firstMissing = this.#position + 1;
    this.#position = through;
    this.#parts.say({ type: "gap", partition: this.partition, firstMissing, lastMissing: through, reason });
    this.#cursor = noteSent(this.#cursor, through);
    this.acknowledge([{ first: firstMissing, last: through }]);
  }

  #sayCaughtUp(): void {
    if (this.#isCaughtUp || this.#position < this.#catchUpTo) return;
    this.#isCaughtUp = true;
    this.#parts.say({ type: "caught_up", partition: this.partition, sequence: this.#position });
  }
}

/** Pages cut to what may be sent. */
function pack(pages: readonly SignalPage[], from: number, through: number, allowance: Allowance | null) {
  const packed: SignalPage[] = [];
  let signals = 0;
  let bytes = 0;
  for (const whole of pages) {
    if (whole.firstSequence > through) break;
    if (whole.lastSequence < from) continue;
    const page = slicePage(whole, from, through);
    const last = allowance
      ? lastWithin(page, allowance.signals - signals, allowance.bytes - bytes)
      : page.lastSequence;
    if (last < page.firstSequence) break;
    const part = slicePage(page, page.firstSequence, last);
    packed.push(part);
    signals += part.lastSequence - part.firstSequence + 1;
    bytes += part.body.length;
    if (last < page.lastSequence) break;
  }
  return { pages: packed, signals, bytes };
}

function beyondSent(sequence: number, sentThrough: number): Fault {
  return new Fault(
    "ACK_BEYOND_SENT",
    `Signal ${sequence} was never sent to this consumer; the last that was is ${sentThrough}.`,
    { sequence: String(sequence), sent_through: String(sentThrough) },
  );
}
