// Subscriptions of this hub, from their first message to their end.
import type { ChannelName } from "../domain/channel.js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { Attach, CursorAttachments } from "./cursor-attachments.js";
import type { DeadLetters } from "./dead-letters.js";
import type { SignalChannels } from "./signal-channels.js";
import type { SignalGroups } from "./signal-groups.js";
import type { SignalObserver } from "./signal-observer.js";
import { SignalSubscription } from "./signal-subscription.js";

export interface SubscribeRequest extends Attach {
  readonly channel: ChannelName;
  /** Shares the partitions with the other members of the consumer. */
  readonly isMember: boolean;
  /** null: all. */
  readonly partitions: readonly number[] | null;
}

export class Signals {
  readonly #channels: SignalChannels;
  readonly #attachments: CursorAttachments;
  readonly #groups: SignalGroups;
  readonly #deadLetters: DeadLetters;
  readonly #streamsMax: number;
  readonly #observer: SignalObserver;
  /** With the key that each was opened with. */
  readonly #subscriptions = new Map<SignalSubscription, string>();

  constructor(
    parts: {
      readonly channels: SignalChannels;
      readonly attachments: CursorAttachments;
      readonly groups: SignalGroups;
      readonly deadLetters: DeadLetters;
    },
    streamsMax: number,
    observer: SignalObserver,
  ) {
    this.#channels = parts.channels;
    this.#attachments = parts.attachments;
    this.#groups = parts.groups;
    this.#deadLetters = parts.deadLetters;
    this.#streamsMax = streamsMax;
    this.#observer = observer;
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

  /** Attaches a subscription to its partitions; when one cannot be, none is. */
  async subscribe(principal: Principal, request: SubscribeRequest): Promise<SignalSubscription> {
    if (this.#subscriptions.size >= this.#streamsMax)
      throw new Fault("STREAM_LIMIT", `This hub serves ${this.#streamsMax} subscriptions.`, {
        limit: "signalStreamsMax",
        value: String(this.#streamsMax),
      });
    const channel = await this.#channels.ensure(principal, request.channel);
    const consumer = request.consumer ?? "";
    const subscriber = { principal, channel, consumer };
    const subscription = new SignalSubscription({
      observer: this.#observer,
      redeliveriesMax: channel.redeliveriesMax,
      isMember: request.isMember,
      bury: (refusal) => this.#deadLetters.bury(subscriber, refusal),
      countFailure: (refusal) => this.#deadLetters.count(refusal),
    });
    this.#subscriptions.set(subscription, principal.keyId);
    try {
      if (request.isMember) await this.#groups.join(subscription, channel, consumer, request);
      else
        for (const partition of partitionsOf(request.partitions, channel.partitions))
          await this.#attachments.attach(subscription, channel, partition, request);
    } catch (error) {
      await this.unsubscribe(subscription);
      throw error;
    }
    return subscription;
  }

  /** Lets go of everything; what was acknowledged is written first. */
  async unsubscribe(subscription: SignalSubscription): Promise<void> {
    this.#subscriptions.delete(subscription);
    const letGo = async () => {
      for (const follower of subscription.followers) await this.#attachments.release(subscription, follower);
    };
    if (subscription.isMember) await this.#groups.leave(subscription, letGo);
    else await letGo();
  }

  /** Keys whose streams are open. */
  keysInUse(): string[] {
    return [...new Set(this.#subscriptions.values())].filter((keyId) => keyId !== "");
  }

  /** A key was revoked: its streams end. */
  endKey(keyId: string): void {
    for (const [subscription, id] of this.#subscriptions)
      if (id === keyId) subscription.end(new Fault("UNAUTHENTICATED", "The API key was revoked."));
  }

  endAll(): void {
    for (const subscription of this.#subscriptions.keys()) subscription.end(null);
  }
}

function partitionsOf(wanted: readonly number[] | null, partitions: number): readonly number[] {
  const unknown = wanted?.find((partition) => partition >= partitions);
  if (unknown !== undefined)
    throw new Fault("INVALID_FIELD", `The channel has ${partitions} partitions.`, {
      field: "open.partitions",
      value: String(unknown),
    });
  return wanted ?? Array.from({ length: partitions }, (_, at) => at);
}
