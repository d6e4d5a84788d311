// One Subscribe stream: its partitions, its credit, and what it is told, pulled at the consumer's pace. Memory is
// bounded by what one read of the ledger brings: nothing is read before the consumer took what was read before.
import { type Credit, grantCredit, noCredit } from "../domain/credit.js";
import type { SequenceRange } from "../domain/cursor.js";
import { Fault } from "../domain/fault.js";
import type { Refusal } from "./dead-letters.js";
import type { Parcel, SignalFollower } from "./signal-follower.js";
import type { SubscriptionMessage } from "./signal-messages.js";
import type { SignalObserver } from "./signal-observer.js";

const creditMax = { jobsMax: 1_000_000, bytesMax: 1 << 30 };

export interface SubscriptionParts {
  readonly observer: Pick<SignalObserver, "delivered">;
  readonly redeliveriesMax: number;
  /** It shares its partitions with others, and may lose one. */
  readonly isMember: boolean;
  /** Gives up on a signal; resolves once it is a dead letter. */
  readonly bury: (refusal: Refusal) => Promise<void>;
  readonly countFailure: (refusal: Refusal) => Promise<void>;
}

export class SignalSubscription {
  readonly #parts: SubscriptionParts;
  readonly #followers = new Map<number, SignalFollower>();
  readonly #said: SubscriptionMessage[] = [];
  readonly #revoked = new Set<number>();
  #order: SignalFollower[] = [];
  #credit: Credit = noCredit;
  #ended: { readonly fault: unknown } | null = null;
  #hasChanged = false;
  #onChange: () => void = () => undefined;

  constructor(parts: SubscriptionParts) {
    this.#parts = parts;
  }

  get followers(): readonly SignalFollower[] {
    return this.#order;
  }

  get isMember(): boolean {
    return this.#parts.isMember;
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

  follows(partition: number): boolean {
    return this.#followers.has(partition);
  }

  /** Another member serves the partition from now on. */
  revoke(partition: number): void {
    if (!this.#followers.delete(partition)) return;
    this.#revoked.add(partition);
    this.#order = [...this.#followers.values()];
    this.say({ type: "revoked", partition });
  }

  /** A partition cannot go on: a member that was fenced out loses it, for everybody else it is the end. */
  failed(partition: number, error: unknown): void {
    const isFenced = error instanceof Fault && error.reason === "SUPERSEDED";
    const follower = this.#followers.get(partition);
    if (!this.#parts.isMember || !isFenced) return this.end(error);
    this.revoke(partition);
    void follower?.leave();
  }

  /** What waits of the same kind and partition is out of date: so a consumer that does not read costs no memory. */
  say(message: SubscriptionMessage): void {
    const isLatest = message.type === "cursor" || message.type === "checkpoint_saved";
    const stale = isLatest
      ? this.#said.findIndex(
          ({ type, partition }) => type === message.type && partition === message.partition,
        )
      : -1;
    if (stale >= 0) this.#said.splice(stale, 1);
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
    const refusal = { follower, sequence, failures, reason };
    try {
      if (failures > this.#parts.redeliveriesMax) return await this.#parts.bury(refusal);
      await this.#parts.countFailure(refusal);
    } catch (error) {
      return this.failed(partition, error);
    }
    follower.deliverAgain(sequence, delayMs);
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
      const parcel = await this.#next(follower);
      if (!parcel) continue;
      this.#credit = {
        jobs: this.#credit.jobs - parcel.signals,
        bytes: this.#credit.bytes - parcel.bytes,
      };
      // The others first, next time.
      this.#order = [...this.#order.filter((other) => other !== follower), follower];
      const { pages, isRedelivered } = parcel.message;
      const count = pages.reduce((sum, page) => sum + page.lastSequence - page.firstSequence + 1, 0);
      this.#parts.observer.delivered(count, isRedelivered);
      return parcel.message;
    }
    return null;
  }

  /** Null also when the partition was taken away meanwhile. */
  async #next(follower: SignalFollower): Promise<Parcel | null> {
    const isHere = () => this.#followers.get(follower.partition) === follower;
    try {
      const parcel = await follower.next({ signals: this.#credit.jobs, bytes: this.#credit.bytes });
      return isHere() ? parcel : null;
    } catch (error) {
      if (isHere()) throw error;
      return null;
    }
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
