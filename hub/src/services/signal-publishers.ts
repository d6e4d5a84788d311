import { type ChannelName, OwnerType } from "../domain/channel.js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { PublishItem } from "../ledger/publish-signals.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import type { SignalChannels } from "./signal-channels.js";
import type { SignalObserver } from "./signal-observer.js";
import { SignalPublisher } from "./signal-publisher.js";
import type { SignalRouter } from "./signal-router.js";

/** What a Publish stream is told beside its receipts. */
export interface PublisherLink {
  readonly pause: () => void;
  readonly resume: () => void;
  readonly end: (fault: Fault) => void;
}

/**
 * Publish streams of this hub. Bytes that wait for the ledger are counted over all of them: at the high watermark all
 * are told to pause and none is read, until the low one.
 */
export class SignalPublishers {
  readonly #ledger: SignalLedger;
  readonly #channels: SignalChannels;
  readonly #router: SignalRouter;
  readonly #observer: SignalObserver;
  readonly #limits: { readonly signalStreamsMax: number; readonly signalWaitingBytesMax: number };
  readonly #links = new Map<PublisherLink, string>();
  #waitingBytes = 0;
  #paused: { readonly over: Promise<void>; readonly end: () => void } | null = null;

  constructor(
    ledger: SignalLedger,
    channels: SignalChannels,
    router: SignalRouter,
    limits: { readonly signalStreamsMax: number; readonly signalWaitingBytesMax: number },
    observer: SignalObserver,
  ) {
    this.#ledger = ledger;
    this.#channels = channels;
    this.#router = router;
    this.#limits = limits;
    this.#observer = observer;
  }

  get streams(): number {
    return this.#links.size;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  async open(
    principal: Principal,
    name: ChannelName,
    producer: string,
    lease: PublishItem["lease"],
    link: PublisherLink,
  ): Promise<SignalPublisher> {
    if (this.#links.size >= this.#limits.signalStreamsMax)
      throw new Fault("STREAM_LIMIT", `This hub serves ${this.#limits.signalStreamsMax} Publish streams.`, {
        limit: "signalStreamsMax",
        value: String(this.#limits.signalStreamsMax),
      });
    if (lease && (name.ownerType !== OwnerType.Job || name.owner !== lease.jobId))
      throw new Fault("INVALID_FIELD", "A lease is for a channel of its own job.", {
        field: "open.lease.job_id",
      });
    this.#links.set(link, principal.keyId);
    try {
      const channel = await this.#channels.ensure(principal, name);
      const opened = await this.#ledger.openProducer(channel.channelId, producer);
      return new SignalPublisher(
        { ledger: this.#ledger, router: this.#router, observer: this.#observer },
        channel,
        producer,
        opened,
        lease,
      );
    } catch (error) {
      this.close(link);
      throw error;
    }
  }

  close(link: PublisherLink): void {
    this.#links.delete(link);
  }

  /** Counts bytes that wait for the ledger; the function that is answered takes them off again. */
  reserve(bytes: number): () => void {
    this.#waitingBytes += bytes;
    if (!this.#paused && this.#waitingBytes >= this.#limits.signalWaitingBytesMax) {
      let end: () => void = () => undefined;
      const over = new Promise<void>((resolve) => {
        end = resolve;
      });
      this.#paused = { over, end };
      for (const { pause } of this.#links.keys()) pause();
    }
    return () => {
      this.#waitingBytes -= bytes;
      if (!this.#paused || this.#waitingBytes > this.#limits.signalWaitingBytesMax / 4) return;
      this.#paused.end();
      this.#paused = null;
      for (const { resume } of this.#links.keys()) resume();
    };
  }

  /** Resolves when producers may be read. */
  room(): Promise<void> | null {
    return this.#paused?.over ?? null;
  }

  /** Keys whose streams are open. */
  keysInUse(): string[] {
    return [...new Set(this.#links.values())].filter((keyId) => keyId !== "");
  }

  /** A key was revoked: its streams end. */
  endKey(keyId: string): void {
    for (const [link, id] of this.#links)
      if (id === keyId) link.end(new Fault("UNAUTHENTICATED", "The API key was revoked."));
  }

  endAll(): void {
    for (const link of this.#links.keys()) link.end(new Fault("HUB_STOPPING", "The hub is stopping."));
  }
}
