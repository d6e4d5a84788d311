// One Subscribe stream: its partitions, its credit, and what it is told, pulled at the consumer's pace. Memory is
// bounded by what one read of the ledger brings: nothing is read before the consumer took what was read before.
import { type Credit, grantCredit, noCredit } from "../domain/credit.js";
import type { SequenceRange } from "../domain/cursor.js";
import { Fault } from "../domain/fault.js";
import type { SignalFollower } from "./signal-follower.js";
import type { SubscriptionMessage } from "./signal-messages.js";

const creditMax = { jobsMax: 1_000_000, bytesMax: 1 << 30 };

export interface SubscriptionObserver {
  readonly delivered: (signals: number, isRedelivered: boolean) => void;
}

/** Gives up on a signal: answers once it is buried. */
export type Bury = (
  follower: SignalFollower,
  sequence: number,
  failures: number,
  reason: string,
) => Promise<void>;

export class SignalSubscription {
  readonly #observer: SubscriptionObserver;
  readonly #bury: Bury;
  readonly #noteFailure: (follower: SignalFollower, sequence: number, failures: number) => Promise<void>;
  readonly #redeliveriesMax: number;
  readonly #followers = new Map<number, SignalFollower>();
  readonly #said: SubscriptionMessage[] = [];
  readonly #revoked = new Set<number>();
  #order: SignalFollower[] = [];
  #credit: Credit = noCredit;
  #ended: { readonly fault: unknown } | null = null;
  #hasChanged = false;
  #onChange: () => void = () => undefined;

  constructor(parts: {
    readonly observer: SubscriptionObserver;
    readonly bury: Bury;
    readonly noteFailure: (follower: SignalFollower, sequence: number, failures: number) => Promise<void>;
    readonly redeliveriesMax: number;
  }) {
    this.#observer = parts.observer;
    this.#bury = parts.bury;
    this.#noteFailure = parts.noteFailure;
    this.#redeliveriesMax = parts.redeliveriesMax;
  }

  get followers(): readonly SignalFollower[] {
    return this.#order;
  }

  get isEnded(): boolean {
    return this.#ended !== null;
  }

  add(follower: SignalFollower): void {
    this.#followers.set(follower.partition, follower);
    this.#revoked.delete(follower.partition);
    this.#order = [...this.#followers.values()];
    this.wake();
  }

  /** Another member serves the partition now. */
  async remove(partition: number): Promise<void> {
    const follower = this.#followers.get(partition);
    if (!follower) return;
    this.#followers.delete(partition);
    this.#revoked.add(partition);
    this.#order = [...this.#followers.values()];
    this.say({ type: "revoked", partition });
    await follower.leave();
  }

  say(message: SubscriptionMessage): void {
    this.#said.push(message);
    this.wake();
  }

  wake(): void {
    this.#hasChanged = true;
    this.#onChange();
  }

  /** What was said before still goes out, unless there is a fault. */
  end(fault: unknown): void {
    this.#ended ??= { fault };
    this.wake();
  }

  /** The consumer says nothing more: what it acknowledged is written, then the subscription ends. */
  async finish(): Promise<void> {
    for (const follower of this.#order) await follower.settled();
    this.end(null);
  }

  /** @throws Fault CREDIT_OVERFLOW */
  grant(signals: number, bytes: number): void {
    const granted = grantCredit(this.#credit, { jobs: signals, bytes }, creditMax);
    if (granted === "overflow")
      throw new Fault("CREDIT_OVERFLOW", "The outstanding credit would pass its limit.", {
        limit: `${creditMax.jobsMax} signals, ${creditMax.bytesMax} bytes`,
      });
    this.#credit = granted;
    this.wake();
  }

  acknowledge(partition: number, ranges: readonly SequenceRange[]): void {
    this.#follower(partition, "ack.partition")?.acknowledge(ranges);
  }

  save(partition: number, sequence: number, state: Uint8Array): void {
    this.#follower(partition, "checkpoint.partition")?.save(sequence, state);
  }

  async refuse(partition: number, sequence: number, delayMs: number, reason: string): Promise<void> {
    const follower = this.#follower(partition, "nack.partition");
    const failures = follower?.countFailure(sequence);
    if (!follower || failures === null || failures === undefined) return;
    if (failures > this.#redeliveriesMax) return await this.#bury(follower, sequence, failures, reason);
    await this.#noteFailure(follower, sequence, failures);
    follower.deliverAgain(sequence, delayMs);
    this.wake();
  }

  /** What the consumer is told, in order. Throws what the subscription ended with. */
  async *messages(): AsyncGenerator<SubscriptionMessage> {
    for (;;) {
      this.#hasChanged = false;
      const signals = this.#ended ? null : await this.#nextSignals();
      if (this.#ended?.fault) throw this.#ended.fault;
      yield* this.#said.splice(0);
      if (signals) yield signals;
      else if (this.#ended && this.#said.length === 0) return;
      else await this.#change();
    }
  }

  async #nextSignals(): Promise<SubscriptionMessage | null> {
    for (const follower of this.#order) {
      const parcel = await follower.next({ signals: this.#credit.jobs, bytes: this.#credit.bytes });
      if (!parcel || this.#followers.get(follower.partition) !== follower) continue;
      this.#credit = {
        jobs: this.#credit.jobs - parcel.signals,
        bytes: this.#credit.bytes - parcel.bytes,
      };
      // The others first, next time.
      this.#order = [...this.#order.filter((other) => other !== follower), follower];
      const { pages, isRedelivered } = parcel.message;
      const count = pages.reduce((sum, page) => sum + page.lastSequence - page.firstSequence + 1, 0);
      this.#observer.delivered(count, isRedelivered);
      return parcel.message;
    }
    return null;
  }

  #change(): Promise<void> {
    if (this.#hasChanged || this.#said.length > 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onChange = resolve;
    });
  }

  /** Null for a partition that was taken away: the consumer may not have heard yet. */
  #follower(partition: number, field: string): SignalFollower | null {
    const follower = this.#followers.get(partition);
    if (follower) {
      if (follower.attached) return follower;
      throw new Fault("INVALID_FIELD", "A follower without a consumer name has no cursor.", {
        field: "open.consumer",
      });
    }
    if (this.#revoked.has(partition)) return null;
    throw new Fault("INVALID_FIELD", `Partition ${partition} is not subscribed to.`, { field });
  }
}
