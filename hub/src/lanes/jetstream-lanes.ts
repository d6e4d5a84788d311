// Lanes that the hubs of a fleet share over JetStream. Refs wait in the stream; a hub pulls a small window of a lane
// while sessions of its own are hungry for it, and gives back what none of them takes.
//
// Invariants
//  1. Nothing waits for NATS. What cannot be published is missed: its places are noted, and read in the ledger once the
//     lane has come so far, or once the stream has nothing more (D9).
//  2. While the stream is away, refs that this hub offers go straight into the windows that its sessions ask for, and
//     the ledger is asked for the rest.
//  3. No hub hoards: a window that nobody takes from for `handBackAfterMs` goes back, in whole messages.
//  4. Refs wait in a window in the order of their places, whichever way they came.
//  5. Losing or repeating any message is harmless: the ledger has the job, and its claim is a compare-and-set (D10).
import { randomUUID } from "node:crypto";
import type { Msg } from "@nats-io/transport-node";
import type { Ref } from "../domain/lane.js";
import type { NatsLink } from "../nats/nats-link.js";
import { deliveryOf, HeldMessages } from "./held-messages.js";
import { LanePublisher } from "./lane-publisher.js";
import { LaneStream } from "./lane-stream.js";
import type { LaneStats, Lanes, Stretch } from "./lanes.js";
import { decodeRefs } from "./ref-message.js";
import { SharedLane } from "./shared-lane.js";

export interface JetstreamLanesSettings {
  readonly prefix: string;
  /** Copies of the stream; 0: as many as make sense in the cluster. */
  readonly replicas: number;
  /** Refs per lane in memory; only a hub without NATS ever holds so many. */
  readonly windowRefsMax: number;
  /** A window that holds fewer asks for more. */
  readonly windowRefsLow: number;
  readonly refsPerMessageMax: number;
  readonly pullBytesMax: number;
  readonly pullExpiresMs: number;
  readonly handBackAfterMs: number;
  /** A pull that brought nothing for so long: the stream has nothing. */
  readonly dryAfterMs: number;
  /** A ref that is younger may be on its way through the stream: the ledger is not asked for it. */
  readonly youngMs: number;
  readonly ackWaitMs: number;
}

export const defaultJetstreamLanesSettings = {
  replicas: 0,
  windowRefsMax: 20_000,
  windowRefsLow: 1_536,
  refsPerMessageMax: 128,
  pullBytesMax: 64 * 1024,
  pullExpiresMs: 20_000,
  handBackAfterMs: 250,
  dryAfterMs: 300,
  youngMs: 2_000,
  ackWaitMs: 5_000,
};

export type LaneTraffic = "published" | "publish_failed" | "pulled" | "redelivered" | "handed_back";

export interface JetstreamLanesObserver {
  /** So many refs went this way. */
  readonly moved: (traffic: LaneTraffic, refs: number) => void;
  /** What waited in the stream is lost. */
  readonly streamLost: () => void;
}

const tickMs = 50;
/** Dispatchers repeat what their sessions are hungry for every second. */
const soughtForMs = 2_500;
const restAfterFailureMs = 200;
const quietMs = 20;
const consumerIdleMs = 300_000;
const stopWithinMs = 1_000;
const messagesPerPullMax = 1_000;
const microseconds = 1_000;

/** The lanes of one hub, on a link that it shares. */
export function createJetstreamLanes(
  link: NatsLink,
  settings: JetstreamLanesSettings,
  observer: JetstreamLanesObserver,
  log: (line: string) => void,
): Lanes {
  const lanes = new JetstreamLanes(link, settings, observer, log);
  lanes.start();
  return lanes;
}

class JetstreamLanes implements Lanes {
  readonly #settings: JetstreamLanesSettings;
  readonly #observer: JetstreamLanesObserver;
  readonly #stream: LaneStream;
  readonly #publisher: LanePublisher;
  readonly #held = new HeldMessages();
  readonly #lanes = new Map<number, SharedLane>();
  /** Lanes with something that time may change. */
  readonly #active = new Set<SharedLane>();
  readonly #ticking = setInterval(() => this.#tick(), tickMs);
  /** Lost with a stream, of every lane. */
  #lost: Stretch | null = null;
  #notify: (laneId: number) => void = () => undefined;
  #stopping: Promise<void> | null = null;

  constructor(
    link: NatsLink,
    settings: JetstreamLanesSettings,
    observer: JetstreamLanesObserver,
    log: (line: string) => void,
  ) {
    this.#settings = settings;
    this.#observer = observer;
    this.#stream = new LaneStream(
      link,
      { ...settings, consumerIdleMs },
      { opened: (isNew) => this.#opened(isNew), lost: () => this.#away() },
      log,
    );
    this.#publisher = new LanePublisher(
      this.#stream,
      {
        refsPerMessageMax: settings.refsPerMessageMax,
        messagesInFlightMax: 512,
        waitingRefsMax: 100_000,
      },
      {
        published: (laneId, refs) => {
          this.#laneOf(laneId).movedAtMs = performance.now();
          observer.moved("published", refs.length);
        },
        failed: (laneId, refs) => this.#missed(laneId, refs),
      },
      randomUUID(),
    );
  }

  start(): void {
    this.#stream.start();
  }

  offer(refs: readonly Ref[]): void {
    for (const [laneId, own] of byLane(refs)) {
      const lane = this.#laneOf(laneId);
      if (this.#stream.isOpen) this.#publisher.publish(laneId, own);
      else this.#keep(lane, own);
    }
  }

  head(laneId: number): Ref | undefined {
    return this.#lanes.get(laneId)?.head();
  }

  isEmpty(laneId: number): boolean {
    const lane = this.#lanes.get(laneId);
    if (!lane || lane.size > 0 || lane.rest || lane.filling) return false;
    if (!this.#stream.isOpen) return lane.isLookedThrough;
    return this.#isQuietFor(lane, quietMs);
  }

  take(laneId: number, jobsMax: number, bytesMax: number): Ref[] {
    const lane = this.#lanes.get(laneId);
    const refs = lane?.take(jobsMax, bytesMax) ?? [];
    if (!lane || refs.length === 0) return refs;
    lane.usedAtMs = performance.now();
    this.#pull(lane);
    if (this.wants(laneId)) this.#notify(laneId);
    return refs;
  }

  giveBack(refs: readonly Ref[]): void {
    for (const [laneId, own] of byLane(refs)) {
      const lane = this.#laneOf(laneId);
      lane.giveBack(own);
      this.#touch(lane);
      this.#notify(laneId);
    }
  }

  settle(refs: readonly Ref[]): void {
    for (const { jobId, laneId } of refs) {
      this.#lanes.get(laneId)?.settle(jobId);
      this.#held.settle(jobId);
    }
  }

  seek(laneId: number): Stretch | null {
    const lane = this.#laneOf(laneId);
    lane.soughtAtMs = performance.now();
    this.#active.add(lane);
    this.#pull(lane);
    if (lane.filling || !this.#isDry(lane)) return null;
    return { afterKey: 0, throughKey: (Date.now() - this.#settings.youngMs) * microseconds };
  }

  wants(laneId: number): Stretch | null {
    const lane = this.#lanes.get(laneId);
    if (!lane?.rest || lane.filling || lane.size > this.#settings.windowRefsLow) return null;
    const isDue = lane.newestPulledKey > lane.rest.afterKey || this.#isDry(lane);
    return isDue && this.#isSought(lane) ? lane.rest : null;
  }

  beginFill(laneId: number, stretch: Stretch): void {
    const lane = this.#laneOf(laneId);
    lane.filling = stretch;
    lane.rest = null;
  }

  fill(laneId: number, refs: readonly Ref[], isEnd: boolean): void {
    const lane = this.#laneOf(laneId);
    const { filling } = lane;
    lane.filling = null;
    if (isEnd) lane.isLookedThrough = lane.rest === null;
    else lane.miss({ afterKey: refs.at(-1)?.readyKey ?? 0, throughKey: filling?.throughKey ?? null });
    this.#put(lane, refs);
  }

  fillFailed(laneId: number): void {
    const lane = this.#laneOf(laneId);
    if (lane.filling) lane.miss(lane.filling);
    lane.filling = null;
  }

  stats(laneId: number): LaneStats {
    const lane = this.#lanes.get(laneId);
    return { window: lane?.size ?? 0, hasRest: lane !== undefined && lane.rest !== null };
  }

  onChange(listener: (laneId: number) => void): void {
    this.#notify = listener;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#letGo();
    return this.#stopping;
  }

  async #letGo(): Promise<void> {
    clearInterval(this.#ticking);
    for (const lane of this.#active) this.#handBack(lane);
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, stopWithinMs);
    });
    await Promise.race([tooLate, this.#publisher.drained().then(() => this.#stream.flush())]);
    clearTimeout(timer);
    this.#held.forget();
    this.#stream.stop();
  }

  #laneOf(laneId: number): SharedLane {
    let lane = this.#lanes.get(laneId);
    if (!lane) {
      lane = new SharedLane(laneId);
      if (this.#lost) lane.miss(this.#lost);
      this.#lanes.set(laneId, lane);
    }
    return lane;
  }

  #touch(lane: SharedLane): void {
    lane.usedAtMs = performance.now();
    this.#active.add(lane);
  }

  #put(lane: SharedLane, refs: readonly Ref[]): void {
    lane.add(refs);
    this.#touch(lane);
    this.#notify(lane.laneId);
  }

  /** Without the stream: here, if somebody here is hungry for it and nothing is overtaken; else in the ledger alone. */
  #keep(lane: SharedLane, refs: readonly Ref[]): void {
    const room = this.#isSought(lane) && !lane.rest ? this.#settings.windowRefsMax - lane.size : 0;
    const [here, missed] = [refs.slice(0, Math.max(0, room)), refs.slice(Math.max(0, room))];
    if (here.length > 0) this.#put(lane, here);
    if (missed.length > 0) this.#missed(lane.laneId, missed);
  }

  #missed(laneId: number, refs: readonly Ref[]): void {
    this.#observer.moved("publish_failed", refs.length);
    const keys = refs.map((ref) => ref.readyKey);
    this.#laneOf(laneId).miss({ afterKey: Math.min(...keys) - 1, throughKey: Math.max(...keys) });
    this.#notify(laneId);
  }

  #isSought(lane: SharedLane): boolean {
    return performance.now() - lane.soughtAtMs < soughtForMs;
  }

  /** The stream was asked, and has had nothing for so long. */
  #isQuietFor(lane: SharedLane, ms: number): boolean {
    if (lane.pull.type !== "open" || this.#publisher.openRefs(lane.laneId) > 0) return false;
    return performance.now() - Math.max(lane.pull.sinceMs, lane.movedAtMs) >= ms;
  }

  /** Nothing is to be had from the stream: it is away, does not answer, or has nothing. */
  #isDry(lane: SharedLane): boolean {
    if (!this.#stream.isOpen || lane.isUnanswered) return true;
    return this.#isQuietFor(lane, this.#settings.dryAfterMs);
  }

  #opened(isNew: boolean): void {
    if (isNew) {
      this.#observer.streamLost();
      this.#held.forget();
      const lost = { afterKey: 0, throughKey: Date.now() * microseconds };
      this.#lost = lost;
      for (const lane of this.#lanes.values()) lane.miss(lost);
    }
    for (const lane of this.#lanes.values()) {
      lane.consumerSureUntilMs = 0;
      if (this.#isSought(lane)) this.#pull(lane);
    }
  }

  #away(): void {
    for (const lane of this.#active) this.#cancelPull(lane);
    for (const lane of this.#active) if (this.#isSought(lane)) this.#notify(lane.laneId);
  }

  #cancelPull(lane: SharedLane): void {
    if (lane.pull.type === "open") lane.pull.pull.cancel();
    lane.pull = { type: "none" };
  }

  /** Asks for more of a lane that somebody is hungry for, unless it was asked already. */
  #pull(lane: SharedLane): void {
    const now = performance.now();
    if (!this.#stream.isOpen || this.#stopping || lane.size >= this.#settings.windowRefsLow) return;
    if (lane.pull.type === "resting" && lane.pull.untilMs > now) return;
    if (lane.pull.type === "open" || lane.pull.type === "preparing" || !this.#isSought(lane)) return;
    if (lane.consumerSureUntilMs > now) this.#openPull(lane);
    else void this.#prepare(lane);
  }

  async #prepare(lane: SharedLane): Promise<void> {
    const preparing = { type: "preparing" as const };
    lane.pull = preparing;
    try {
      await this.#stream.ensureConsumer(lane.laneId);
    } catch {
      if (lane.pull === preparing) this.#restPull(lane);
      return;
    }
    if (lane.pull !== preparing) return;
    lane.consumerSureUntilMs = performance.now() + consumerIdleMs / 2;
    if (this.#stream.isOpen && this.#isSought(lane)) this.#openPull(lane);
    else lane.pull = { type: "none" };
  }

  #openPull(lane: SharedLane): void {
    const { pullBytesMax: bytesMax, pullExpiresMs: expiresMs } = this.#settings;
    const pull = this.#stream.pull(
      lane.laneId,
      { messagesMax: messagesPerPullMax, bytesMax, expiresMs },
      (message) => this.#arrived(lane, message),
      (isRefused) => {
        if (isRefused) {
          lane.consumerSureUntilMs = 0;
          this.#restPull(lane);
        } else {
          lane.isUnanswered = false;
          lane.pull = { type: "none" };
          this.#pull(lane);
        }
      },
    );
    lane.pull = { type: "open", pull, sinceMs: performance.now() };
    this.#active.add(lane);
  }

  #restPull(lane: SharedLane): void {
    lane.isUnanswered = true;
    lane.pull = { type: "resting", untilMs: performance.now() + restAfterFailureMs };
  }

  #arrived(lane: SharedLane, message: Msg): void {
    const refs = decodeRefs(message.data) ?? [];
    const first = refs[0];
    lane.movedAtMs = performance.now();
    lane.isUnanswered = false;
    if (first) lane.newestPulledKey = Math.max(lane.newestPulledKey, first.readyKey);
    this.#observer.moved("pulled", refs.length);
    if (deliveryOf(message).deliveries > 1) this.#observer.moved("redelivered", refs.length);
    const own = this.#held.hold(message, refs, (jobId) => lane.has(jobId), lane.movedAtMs);
    if (own.length > 0) this.#put(lane, own);
  }

  /** Gives up what waits here: whole messages, and refs that came from none as new ones. */
  #handBack(lane: SharedLane): void {
    this.#cancelPull(lane);
    if (lane.size === 0 || !this.#stream.isOpen) return;
    const refs = lane.clear();
    this.#observer.moved("handed_back", refs.length);
    const loose = this.#held.return(refs);
    if (loose.length > 0) this.#publisher.publish(lane.laneId, loose);
  }

  #tick(): void {
    const now = performance.now();
    const { handBackAfterMs, ackWaitMs } = this.#settings;
    for (const lane of this.#active) {
      const isSought = this.#isSought(lane);
      if (lane.size > 0 && this.#stream.isOpen && now - lane.usedAtMs > handBackAfterMs) {
        // Whoever asked for it has no use for it: not before somebody asks again.
        lane.soughtAtMs = Number.NEGATIVE_INFINITY;
        this.#handBack(lane);
      } else if (!isSought) this.#cancelPull(lane);
      else if (lane.pull.type === "resting" && lane.pull.untilMs <= now) this.#pull(lane);
      if (!isSought && lane.isIdle) this.#active.delete(lane);
    }
    if (this.#held.size > 0) this.#held.confirm(now - ackWaitMs / 3, now);
  }
}

function byLane(refs: readonly Ref[]): Map<number, Ref[]> {
  const lanes = new Map<number, Ref[]>();
  for (const ref of refs) {
    const own = lanes.get(ref.laneId);
    if (own) own.push(ref);
    else lanes.set(ref.laneId, [ref]);
  }
  return lanes;
}
