// Attaches subscriptions to cursors, and keeps one live stream for each: a newer attach ends the older, here at once
// and on another hub when it writes next, or looks.
import type { Channel, ChannelHead } from "../domain/channel.js";
import { Fault } from "../domain/fault.js";
import type { AttachedCursor, CursorStart } from "../ledger/signal-cursors.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { superseded } from "./cursor-writer.js";
import { Rounds } from "./rounds.js";
import { SignalFollower } from "./signal-follower.js";
import type { SubscriptionMessage } from "./signal-messages.js";
import type { SignalObserver } from "./signal-observer.js";
import type { SignalRouter, Tail } from "./signal-router.js";
import type { SignalSubscription } from "./signal-subscription.js";

const lookIntervalMs = 500;
/** A follower of a best-effort channel that is further behind skips to the end. */
const lagMax = 10_000;

/** What a subscription wants of each of its partitions. */
export interface Attach {
  /** null: a follower without a cursor. */
  readonly consumer: string | null;
  readonly start: CursorStart | { readonly type: "cursor" };
}

interface Holder {
  readonly subscription: SignalSubscription;
  readonly partition: number;
  readonly epoch: number;
}

export class CursorAttachments {
  readonly #ledger: SignalLedger;
  readonly #router: SignalRouter;
  readonly #observer: SignalObserver;
  readonly #holders = new Map<number, Holder>();
  readonly #rounds: Rounds;

  constructor(
    ledger: SignalLedger,
    router: SignalRouter,
    observer: SignalObserver,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#router = router;
    this.#observer = observer;
    this.#rounds = new Rounds(() => this.#endSuperseded(), lookIntervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /**
   * Attaches a subscription to one partition. What it is told begins with where its cursor stands; when the ledger
   * fails, the attach fails (D14).
   */
  async attach(
    subscription: SignalSubscription,
    channel: Channel,
    partition: number,
    { consumer, start }: Attach,
  ): Promise<void> {
    const heads = await this.#ledger.readHeads([channel.channelId]);
    const head = heads.find((one) => one.partition === partition);
    if (!head) throw new Error(`Partition ${partition} of channel ${channel.channelId} is gone.`);
    const first = start.type === "cursor" ? ({ type: "earliest" } as const) : start;
    checkStart(first, head);
    const tail = this.#router.follow(head, () => subscription.wake());
    try {
      const follower =
        consumer === null
          ? this.#followUnnamed(subscription, channel, tail, placeOf(first, head))
          : await this.#followNamed(subscription, channel, tail, consumer, first);
      subscription.add(follower);
    } catch (error) {
      tail.leave();
      throw error;
    }
  }

  /** Lets go of a partition; what was acknowledged is written first. */
  async release(subscription: SignalSubscription, follower: SignalFollower): Promise<void> {
    const cursorId = follower.attached?.cursorId;
    if (cursorId !== undefined && this.#holders.get(cursorId)?.subscription === subscription)
      this.#holders.delete(cursorId);
    await follower.leave();
  }

  /** The cursor was moved: whoever is attached to it begins again. */
  wasReset(cursorId: number): void {
    this.#fenceOut(cursorId);
  }

  #followUnnamed(subscription: SignalSubscription, channel: Channel, tail: Tail, position: number) {
    const parts = this.#partsFor(subscription, channel, tail.partition);
    return new SignalFollower(parts, tail, { position, attached: null, failed: [] });
  }

  async #followNamed(
    subscription: SignalSubscription,
    channel: Channel,
    tail: Tail,
    consumer: string,
    start: CursorStart,
  ): Promise<SignalFollower> {
    const { partition } = tail;
    const attached = await this.#ledger.attachCursor(channel.channelId, partition, consumer, start);
    const { cursorId, epoch, ackedThrough } = attached;
    const older = this.#holders.get(cursorId);
    if (older && older.epoch > epoch) throw superseded();
    if (older && older.subscription !== subscription) this.#fenceOut(cursorId);
    this.#holders.set(cursorId, { subscription, partition, epoch });
    const checkpoint = await this.#restore(attached);
    const failed = await this.#ledger.readFailedSignals(cursorId);
    const position = checkpoint?.sequence ?? ackedThrough;
    subscription.say({ type: "restored", partition, checkpoint, ackedThrough, position });
    const parts = this.#partsFor(subscription, channel, partition);
    return new SignalFollower(parts, tail, { position, attached, failed });
  }

  #partsFor(subscription: SignalSubscription, channel: Channel, partition: number) {
    return {
      ledger: this.#ledger,
      say: (message: SubscriptionMessage) => {
        if (message.type === "gap")
          this.#observer.dropped(message.lastMissing - message.firstMissing + 1, message.reason);
        subscription.say(message);
      },
      fail: (error: unknown) => subscription.failed(partition, error),
      wake: () => subscription.wake(),
      lagMax: channel.isBestEffort ? lagMax : null,
    };
  }

  /** The checkpoint that the cursor says there is, or a fault: never nothing in its place (D14). */
  async #restore({ cursorId, checkpointSequence }: AttachedCursor) {
    if (checkpointSequence === null) return null;
    const checkpoint = await this.#ledger.readCheckpoint(cursorId);
    if (checkpoint) return checkpoint;
    throw new Error(`The checkpoint of cursor ${cursorId} is missing.`);
  }

  /** Streams whose consumer attached to another hub. */
  async #endSuperseded(): Promise<void> {
    const cursors = [...this.#holders].map(([cursorId, { epoch }]) => ({ cursorId, epoch }));
    if (cursors.length === 0) return;
    const epochs = new Map(cursors.map(({ cursorId, epoch }) => [cursorId, epoch]));
    for (const cursorId of await this.#ledger.findSuperseded(cursors))
      if (this.#holders.get(cursorId)?.epoch === epochs.get(cursorId)) this.#fenceOut(cursorId);
  }

  #fenceOut(cursorId: number): void {
    const holder = this.#holders.get(cursorId);
    this.#holders.delete(cursorId);
    holder?.subscription.failed(holder.partition, superseded());
  }
}

function checkStart(start: CursorStart, head: ChannelHead): void {
  if (start.type !== "after") return;
  if (start.sequence + 1 < head.firstSequence) throw tooOld(start.sequence + 1, head.firstSequence);
  if (start.sequence > head.lastSequence)
    throw new Fault("INVALID_FIELD", `The next signal to be published is ${head.lastSequence + 1}.`, {
      field: "open.start_sequence",
    });
}

function placeOf(start: CursorStart, head: ChannelHead): number {
  if (start.type === "earliest") return head.firstSequence - 1;
  return start.type === "latest" ? head.lastSequence : start.sequence;
}

export function tooOld(sequence: number, firstHeld: number): Fault {
  return new Fault(
    "CURSOR_TOO_OLD",
    `Signal ${sequence} is not held any more; the first that is held is ${firstHeld}.`,
    { sequence: String(sequence), first_sequence: String(firstHeld) },
  );
}
