// Groups: streams of one consumer that share its partitions. Members are rows that their hubs renew; every hub shares
// the partitions out of what it reads there, alike. A partition that moves is fenced by the attach of its new member,
// which goes on from cursor and checkpoint: so nothing is lost while hubs do not agree yet (D13, D14).
import { randomUUID } from "node:crypto";
import type { Channel } from "../domain/channel.js";
import { partitionsOf } from "../domain/partition-share.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import type { GroupMember } from "../ledger/signal-members.js";
import type { Attach, CursorAttachments } from "./cursor-attachments.js";
import { Rounds } from "./rounds.js";
import type { SignalSubscription } from "./signal-subscription.js";

const roundIntervalMs = 500;
/** Members of a hub that died are gone after this. */
const memberTtlMs = 5_000;

interface OwnMember extends GroupMember {
  readonly channel: Channel;
  readonly attach: Attach;
}

export class SignalGroups {
  readonly #ledger: Pick<SignalLedger, "renewMembers" | "removeMember">;
  readonly #attachments: CursorAttachments;
  readonly #members = new Map<SignalSubscription, OwnMember>();
  readonly #onError: (error: unknown) => void;
  readonly #rounds: Rounds;
  /** One sharing at a time: a join must not attach what a round is attaching. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    ledger: Pick<SignalLedger, "renewMembers" | "removeMember">,
    attachments: CursorAttachments,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#attachments = attachments;
    this.#onError = onError;
    this.#rounds = new Rounds(
      () => this.#inTurn(() => this.#share([...this.#members.keys()])),
      roundIntervalMs,
      onError,
    );
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  /** Makes a subscription a member; it has its partitions when this resolves. */
  async join(
    subscription: SignalSubscription,
    channel: Channel,
    consumer: string,
    attach: Attach,
  ): Promise<void> {
    const { channelId } = channel;
    this.#members.set(subscription, { channelId, consumer, member: randomUUID(), channel, attach });
    await this.#inTurn(() => this.#share([subscription]));
    this.#rounds.hurry();
  }

  /** Lets go of what it has; then it goes to the others, at their next round. */
  async leave(subscription: SignalSubscription, letGo: () => Promise<void>): Promise<void> {
    const member = this.#members.get(subscription);
    this.#members.delete(subscription);
    await this.#inTurn(letGo);
    // A member that cannot be removed expires.
    if (member) await this.#ledger.removeMember(member).catch(this.#onError);
    this.#rounds.hurry();
  }

  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #share(subscriptions: readonly SignalSubscription[]): Promise<void> {
    const own = subscriptions.flatMap((one) => this.#members.get(one) ?? []);
    if (own.length === 0) return;
    const groups = new Map<string, string[]>();
    for (const one of await this.#ledger.renewMembers(own, memberTtlMs)) {
      const members = groups.get(keyOf(one)) ?? [];
      members.push(one.member);
      groups.set(keyOf(one), members);
    }
    for (const subscription of subscriptions) {
      const member = this.#members.get(subscription);
      if (member) await this.#assign(subscription, member, groups.get(keyOf(member)) ?? [member.member]);
    }
  }

  async #assign(
    subscription: SignalSubscription,
    { member, channel, attach }: OwnMember,
    members: readonly string[],
  ): Promise<void> {
    const wanted = partitionsOf(member, members, channel.partitions);
    for (const follower of subscription.followers)
      if (!wanted.includes(follower.partition)) {
        subscription.revoke(follower.partition);
        await this.#attachments.release(subscription, follower);
      }
    try {
      for (const partition of wanted)
        if (this.#members.has(subscription) && !subscription.follows(partition))
          await this.#attachments.attach(subscription, channel, partition, attach);
    } catch (error) {
      // The stream of one member; the others go on.
      subscription.end(error);
    }
  }
}

function keyOf({ channelId, consumer }: GroupMember): string {
  return `${channelId}/${consumer}`;
}
