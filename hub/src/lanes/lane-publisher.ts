import type { Ref } from "../domain/lane.js";
import type { LaneStream } from "./lane-stream.js";
import { encodeRefs } from "./ref-message.js";

export interface LanePublisherSettings {
  readonly refsPerMessageMax: number;
  /** Messages on their way to the stream at once; what comes beyond waits here. */
  readonly messagesInFlightMax: number;
  /** Refs that wait here; beyond it they count as not published. */
  readonly waitingRefsMax: number;
}

export interface LanePublisherEvents {
  readonly published: (laneId: number, refs: readonly Ref[]) => void;
  /** Whether these refs are in the stream is unknown: the ledger is to be looked at. */
  readonly failed: (laneId: number, refs: readonly Ref[]) => void;
}

/** Puts refs into the stream without anybody waiting for it: what comes in one turn of the event loop goes together. */
export class LanePublisher {
  readonly #stream: Pick<LaneStream, "publish" | "isOpen">;
  readonly #settings: LanePublisherSettings;
  readonly #events: LanePublisherEvents;
  readonly #waiting = new Map<number, Ref[]>();
  readonly #openRefs = new Map<number, number>();
  readonly #messageIdPrefix: string;
  #messages = 0;
  #waitingRefs = 0;
  #inFlight = 0;
  #isScheduled = false;
  #idle: (() => void)[] = [];

  constructor(
    stream: Pick<LaneStream, "publish" | "isOpen">,
    settings: LanePublisherSettings,
    events: LanePublisherEvents,
    messageIdPrefix: string,
  ) {
    this.#stream = stream;
    this.#settings = settings;
    this.#events = events;
    this.#messageIdPrefix = messageIdPrefix;
  }

  /** Refs of one lane. */
  publish(laneId: number, refs: readonly Ref[]): void {
    if (!this.#stream.isOpen || this.#waitingRefs + refs.length > this.#settings.waitingRefsMax) {
      this.#events.failed(laneId, refs);
      return;
    }
    const waiting = this.#waiting.get(laneId);
    if (waiting) waiting.push(...refs);
    else this.#waiting.set(laneId, [...refs]);
    this.#waitingRefs += refs.length;
    this.#count(laneId, refs.length);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#send();
    });
  }

  /** Refs of a lane that are not known to be in the stream yet. */
  openRefs(laneId: number): number {
    return this.#openRefs.get(laneId) ?? 0;
  }

  /** Until nothing is on its way any more. */
  async drained(): Promise<void> {
    if (this.#inFlight === 0 && this.#waitingRefs === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #send(): void {
    for (const [laneId, refs] of this.#waiting) {
      let at = 0;
      while (at < refs.length && this.#inFlight < this.#settings.messagesInFlightMax) {
        const part = refs.slice(at, at + this.#settings.refsPerMessageMax);
        at += part.length;
        void this.#sendOne(laneId, part);
      }
      this.#waitingRefs -= at;
      if (at < refs.length) {
        this.#waiting.set(laneId, refs.slice(at));
        return;
      }
      this.#waiting.delete(laneId);
    }
  }

  async #sendOne(laneId: number, refs: readonly Ref[]): Promise<void> {
    this.#inFlight += 1;
    this.#messages += 1;
    const messageId = `${this.#messageIdPrefix}.${this.#messages}`;
    let isStored = true;
    try {
      await this.#stream.publish(laneId, encodeRefs(laneId, refs), messageId);
    } catch {
      isStored = false;
    }
    this.#inFlight -= 1;
    this.#count(laneId, -refs.length);
    if (isStored) this.#events.published(laneId, refs);
    else this.#events.failed(laneId, refs);
    this.#send();
    if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #count(laneId: number, change: number): void {
    const open = (this.#openRefs.get(laneId) ?? 0) + change;
    if (open === 0) this.#openRefs.delete(laneId);
    else this.#openRefs.set(laneId, open);
  }
}
