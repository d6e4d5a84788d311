// Subscriptions of this hub: attaches them to their cursors, keeps one stream per consumer and partition, and buries
// what consumers give up.
import { type Channel, type ChannelName, deadLetterName } from "../domain/channel.js";
import type { CursorView } from "../domain/cursor.js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { SignalPage } from "../domain/signal-page.js";
import type { AttachedCursor, CursorStart } from "../ledger/signal-cursors.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { superseded } from "./cursor-writer.js";
import type { SignalChannels } from "./signal-channels.js";
import { SignalFollower } from "./signal-follower.js";
import type { GapReason } from "./signal-messages.js";
import type { SignalRouter } from "./signal-router.js";
import { SignalSubscription } from "./signal-subscription.js";

/** A follower of a best-effort channel that is further behind skips to the end. */
const lagMax = 10_000;
const deadLetterProducer = "holdfast.dead-letters";

export interface SubscribeRequest {
  readonly channel: ChannelName;
  /** null: a follower without a cursor. */
  readonly consumer: string | null;
  readonly start: CursorStart | { readonly type: "cursor" };
  /** null: all. */
  readonly partitions: readonly number[] | null;
}

/** The record of a signal with where it came from added to it. */
export type MarkDead = (
  page: SignalPage,
  origin: {
    readonly channel: string;
    readonly partition: number;
    readonly sequence: number;
    readonly consumer: string;
    readonly deliveries: number;
    readonly reason: string;
  },
) => Uint8Array;

export interface SignalObserver {
  readonly delivered: (signals: number, isRedelivered: boolean) => void;
  /** Not delivered, or not stored, and why. */
  readonly dropped: (signals: number, reason: string) => void;
  readonly published: (signals: number, isDuplicate: boolean) => void;
}

interface Attached {
  readonly subscription: SignalSubscription;
  readonly epoch: number;
}

export class Signals {
  readonly #ledger: SignalLedger;
  readonly #channels: SignalChannels;
  readonly #router: SignalRouter;
  readonly #streamsMax: number;
  readonly #markDead: MarkDead;
  readonly #observer: SignalObserver;
  /** With the key that each was opened with. */
  readonly #subscriptions = new Map<SignalSubscription, string>();
  readonly #attached = new Map<number, Attached>();

  constructor(
    ledger: SignalLedger,
    channels: SignalChannels,
    router: SignalRouter,
    streamsMax: number,
    markDead: MarkDead,
    observer: SignalObserver,
  ) {
    this.#ledger = ledger;
    this.#channels = channels;
    this.#router = router;
    this.#streamsMax = streamsMax;
    this.#markDead = markDead;
    this.#observer = observer;
    router.onLook = () => this.#endSuperseded();
  }

  get streams(): number {
    return this.#subscriptions.size;
  }

  /** Signals that followers of this hub have not been sent, by the furthest behind. */
  get lagMax(): number {
    let lag = 0;
    for (const { followers } of this.#subscriptions.keys())
      for (const follower of followers) lag = Math.max(lag, follower.lag);
    return lag;
  }

  /**
   * Attaches a subscription. What it is told begins with where its cursors stand; when the ledger fails, the attach
   * fails (D14).
   */
  async subscribe(principal: Principal, request: SubscribeRequest): Promise<SignalSubscription> {
    if (this.#subscriptions.size >= this.#streamsMax)
      throw new Fault("STREAM_LIMIT", `This hub serves ${this.#streamsMax} subscriptions.`, {
        limit: "signalStreamsMax",
        value: String(this.#streamsMax),
      });
    const channel = await this.#channels.ensure(principal, request.channel);
    const partitions = request.partitions ?? Array.from({ length: channel.partitions }, (_, at) => at);
    const unknown = partitions.find((partition) => partition >= channel.partitions);
    if (unknown !== undefined)
      throw new Fault("INVALID_FIELD", `The channel has ${channel.partitions} partitions.`, {
        field: "open.partitions",
        value: String(unknown),
      });
    const subscription: SignalSubscription = new SignalSubscription({
      observer: this.#observer,
      redeliveriesMax: channel.redeliveriesMax,
      bury: (follower, sequence, failures, reason) =>
        this.#bury(principal, channel, request.consumer ?? "", follower, { sequence, failures, reason }),
      noteFailure: (follower, sequence, failures) => this.#noteFailure(follower, sequence, failures),
    });
    this.#subscriptions.set(subscription, principal.keyId);
    try {
      for (const partition of partitions) await this.#attach(subscription, channel, partition, request);
    } catch (error) {
      await this.unsubscribe(subscription);
      throw error;
    }
    return subscription;
  }

  /** Lets go of everything; what was acknowledged is written first. */
  async unsubscribe(subscription: SignalSubscription): Promise<void> {
    this.#subscriptions.delete(subscription);
    for (const follower of subscription.followers) {
      const { cursorId } = follower.attached ?? {};
      if (cursorId !== undefined && this.#attached.get(cursorId)?.subscription === subscription)
        this.#attached.delete(cursorId);
      await follower.leave();
    }
  }

  async cursors(
    principal: Principal,
    name: ChannelName,
    after: { readonly partition: number; readonly consumer: string },
    limit: number,
  ): Promise<CursorView[]> {
    const { channelId } = await this.#channels.find(principal, name);
    return await this.#ledger.listCursors(channelId, after, limit);
  }

  async resetCursor(
    principal: Principal,
    name: ChannelName,
    reset: {
      readonly consumer: string;
      readonly partition: number;
      readonly ackedThrough: number;
      readonly reason: string;
    },
  ): Promise<CursorView> {
    const { channel, heads } = await this.#channels.held(principal, name);
    const { channelId } = channel;
    const head = heads.find(({ partition }) => partition === reset.partition);
    if (head && reset.ackedThrough < head.firstSequence - 1)
      throw tooOld(reset.ackedThrough + 1, head.firstSequence);
    if (head && reset.ackedThrough > head.lastSequence)
      throw new Fault("ACK_BEYOND_SENT", `The last signal published is ${head.lastSequence}.`, {
        sequence: String(reset.ackedThrough),
        last: String(head.lastSequence),
      });
    const moved = await this.#ledger.resetCursor({ channelId, ...reset, subject: principal.subject });
    if (!moved)
      throw new Fault("CURSOR_NOT_FOUND", `Consumer ${reset.consumer} has no cursor in this partition.`, {
        consumer: reset.consumer,
        partition: String(reset.partition),
      });
    this.#attached.get(moved.cursorId)?.subscription.end(superseded());
    return moved;
  }

  /** Signals that are held, from a sequence on; 0 is the first held. */
  async list(
    principal: Principal,
    name: ChannelName,
    partition: number,
    from: number,
  ): Promise<readonly SignalPage[]> {
    const { channel, heads } = await this.#channels.held(principal, name);
    const head = heads.find((one) => one.partition === partition);
    if (!head)
      throw new Fault("INVALID_FIELD", `The channel has ${channel.partitions} partitions.`, {
        field: "partition",
      });
    if (from > 0 && from < head.firstSequence) throw tooOld(from, head.firstSequence);
    return await this.#ledger.readSignals(
      channel.channelId,
      partition,
      Math.max(from, head.firstSequence),
      1 << 20,
    );
  }

  /** A key was revoked: its streams end. */
  endKey(keyId: string): void {
    for (const [subscription, id] of this.#subscriptions)
      if (id === keyId) subscription.end(new Fault("UNAUTHENTICATED", "The API key was revoked."));
  }

  endAll(): void {
    for (const subscription of this.#subscriptions.keys()) subscription.end(null);
  }

  async #attach(
    subscription: SignalSubscription,
    channel: Channel,
    partition: number,
    request: SubscribeRequest,
  ): Promise<void> {
    const heads = await this.#ledger.readHeads([channel.channelId]);
    const head = heads.find((one) => one.partition === partition);
    if (!head) throw new Error(`Partition ${partition} of channel ${channel.channelId} is gone.`);
    const { start } = request;
    if (start.type === "after" && start.sequence + 1 < head.firstSequence)
      throw tooOld(start.sequence + 1, head.firstSequence);
    if (start.type === "after" && start.sequence > head.lastSequence)
      throw new Fault("INVALID_FIELD", `The next signal to be published is ${head.lastSequence + 1}.`, {
        field: "open.start_sequence",
      });
    const parts = {
      ledger: this.#ledger,
      say: (message: Parameters<SignalSubscription["say"]>[0]) => {
        if (message.type === "gap") this.#noteGap(message);
        subscription.say(message);
      },
      fail: (error: unknown) => subscription.end(error),
      wake: () => subscription.wake(),
      lagMax: channel.isBestEffort ? lagMax : null,
    };
    const tail = this.#router.follow(head, parts.wake);
    try {
      const cursorStart = start.type === "cursor" ? ({ type: "earliest" } as const) : start;
      if (request.consumer === null) {
        const position = placeOf(cursorStart, head);
        subscription.add(new SignalFollower(parts, tail, { position, attached: null, failed: [] }));
        return;
      }
      const attached = await this.#ledger.attachCursor(
        channel.channelId,
        partition,
        request.consumer,
        cursorStart,
      );
      this.#replace(attached, subscription);
      const checkpoint = await this.#restore(attached);
      const failed = await this.#ledger.readFailedSignals(attached.cursorId);
      const position = checkpoint?.sequence ?? attached.ackedThrough;
      subscription.say({
        type: "restored",
        partition,
        checkpoint,
        ackedThrough: attached.ackedThrough,
        position,
      });
      subscription.add(new SignalFollower(parts, tail, { position, attached, failed }));
    } catch (error) {
      tail.leave();
      throw error;
    }
  }

  /** The checkpoint that the cursor says there is, or a fault: never nothing in its place (D14). */
  async #restore(attached: AttachedCursor) {
    if (attached.checkpointSequence === null) return null;
    const checkpoint = await this.#ledger.readCheckpoint(attached.cursorId);
    if (checkpoint) return checkpoint;
    throw new Error(`The checkpoint of cursor ${attached.cursorId} is missing.`);
  }

  /** One live stream for each cursor: the older one ends. */
  #replace({ cursorId, epoch }: AttachedCursor, subscription: SignalSubscription): void {
    const other = this.#attached.get(cursorId);
    if (other && other.epoch > epoch) throw superseded();
    if (other && other.subscription !== subscription) other.subscription.end(superseded());
    this.#attached.set(cursorId, { subscription, epoch });
  }

  /** Streams whose consumer attached to another hub. */
  async #endSuperseded(): Promise<void> {
    const cursors = [...this.#attached].map(([cursorId, { epoch }]) => ({ cursorId, epoch }));
    if (cursors.length === 0) return;
    for (const cursorId of await this.#ledger.findSuperseded(cursors)) {
      const known = cursors.find((one) => one.cursorId === cursorId);
      const attached = this.#attached.get(cursorId);
      if (attached && attached.epoch === known?.epoch) attached.subscription.end(superseded());
    }
  }

  async #noteFailure(follower: SignalFollower, sequence: number, failures: number): Promise<void> {
    if (!follower.attached) return;
    const { cursorId, epoch } = follower.attached;
    const noted = await this.#ledger.failSignal({ cursorId, epoch, sequence, failures, deadLetter: null });
    if (noted === "superseded") throw superseded();
  }

  async #bury(
    principal: Principal,
    channel: Channel,
    consumer: string,
    follower: SignalFollower,
    { sequence, failures, reason }: { sequence: number; failures: number; reason: string },
  ): Promise<void> {
    if (!follower.attached) return;
    const { cursorId, epoch } = follower.attached;
    const page = await follower.readOne(sequence);
    if (!page) return;
    const graveyard = await this.#channels.ensure(principal, {
      ...channel,
      name: deadLetterName(channel.name),
    });
    const { producerId } = await this.#ledger.openProducer(graveyard.channelId, deadLetterProducer);
    const origin = {
      channel: channel.name,
      partition: follower.partition,
      sequence,
      consumer,
      deliveries: failures,
      reason,
    };
    const deadLetter = { channelId: graveyard.channelId, producerId, body: this.#markDead(page, origin) };
    const buried = await this.#ledger.failSignal({ cursorId, epoch, sequence, failures, deadLetter });
    if (buried === "superseded") throw superseded();
    follower.buried(sequence);
    this.#router.wake(graveyard.channelId);
    this.#router.onPublished(graveyard.channelId);
  }

  #noteGap(gap: { firstMissing: number; lastMissing: number; reason: GapReason }): void {
    this.#observer.dropped(gap.lastMissing - gap.firstMissing + 1, gap.reason);
  }
}

function placeOf(start: CursorStart, head: { firstSequence: number; lastSequence: number }): number {
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
