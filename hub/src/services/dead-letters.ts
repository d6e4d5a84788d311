import { type Channel, deadLetterName } from "../domain/channel.js";
import type { Principal } from "../domain/scope.js";
import type { SignalPage } from "../domain/signal-page.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { superseded } from "./cursor-writer.js";
import type { SignalChannels } from "./signal-channels.js";
import type { SignalFollower } from "./signal-follower.js";
import type { SignalRouter } from "./signal-router.js";

/** What a dead-letter channel is published to as. */
const producer = "holdfast.dead-letters";

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

/** A signal that its consumer could not take, for so many times now. */
export interface Refusal {
  readonly follower: SignalFollower;
  readonly sequence: number;
  readonly failures: number;
  readonly reason: string;
}

/** Whose subscription it is, and to what. */
export interface Subscriber {
  readonly principal: Principal;
  readonly channel: Channel;
  readonly consumer: string;
}

/** Counts what consumers refuse, and in the end sends it to the dead-letter channel, which is made when it is needed. */
export class DeadLetters {
  readonly #ledger: Pick<SignalLedger, "failSignal" | "openProducer">;
  readonly #channels: SignalChannels;
  readonly #router: SignalRouter;
  readonly #markDead: MarkDead;

  constructor(
    ledger: Pick<SignalLedger, "failSignal" | "openProducer">,
    channels: SignalChannels,
    router: SignalRouter,
    markDead: MarkDead,
  ) {
    this.#ledger = ledger;
    this.#channels = channels;
    this.#router = router;
    this.#markDead = markDead;
  }

  /** @throws Fault SUPERSEDED */
  async count({ follower, sequence, failures }: Refusal): Promise<void> {
    if (!follower.attached) return;
    const { cursorId, epoch } = follower.attached;
    const noted = await this.#ledger.failSignal({ cursorId, epoch, sequence, failures, deadLetter: null });
    if (noted === "superseded") throw superseded();
  }

  /**
   * Stores the signal in the dead-letter channel; in the same transaction it counts as acknowledged. One that retention has
   * trimmed is a gap.
   *
   * @throws Fault SUPERSEDED
   */
  async bury({ principal, channel, consumer }: Subscriber, refusal: Refusal): Promise<void> {
    const { follower, sequence, failures, reason } = refusal;
    if (!follower.attached) return;
    const { cursorId, epoch } = follower.attached;
    const page = await follower.readOne(sequence);
    if (!page) return follower.passOver(sequence, "cursor_too_old");
    const name = deadLetterName(channel.name);
    const { channelId } = await this.#channels.ensure(principal, { ...channel, name });
    const { producerId } = await this.#ledger.openProducer(channelId, producer);
    const { partition } = follower;
    const origin = { channel: channel.name, partition, sequence, consumer, deliveries: failures, reason };
    const deadLetter = { channelId, producerId, body: this.#markDead(page, origin) };
    const buried = await this.#ledger.failSignal({ cursorId, epoch, sequence, failures, deadLetter });
    if (buried === "superseded") throw superseded();
    follower.passOver(sequence, "dead_lettered");
    this.#router.stored(channelId);
  }
}
