// Lets parked jobs back into their lanes when their gate is open, best score first and never more at once than the gate
// has room for: what the claim would stop again stays where it is. Hubs share the work; any of them may do it. The same
// look tells the lanes behind metered gates how much room there is.
import { type Gate, holdOf, isMetered, isPreemptive, limitsOf, targetText } from "../domain/gate.js";
import {
  fittingFrom,
  isFull,
  jobsLimit,
  type MeterAsk,
  type MeterLevel,
  type ReadLevel,
} from "../domain/meter.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { GateBook } from "./gate-book.js";
import type { GateRooms } from "./gate-rooms.js";
import type { JobFeed } from "./job-feed.js";
import { Rounds } from "./rounds.js";

const roundIntervalMs = 500;
/** Leases that end in quick succession are looked at together. */
const roomSpacingMs = 5;
/** Jobs of one gate that return in one round, however much room it has: a gate that opens is no flood. */
const jobsPerRoundMax = 1_000;
/** Of jobs that ask for amounts, so many are looked at in a round. */
const asksPerRoundMax = 100;
/** Where more gates than these have parked jobs, the rest are looked at when those have none. Keys take turns. */
const gatesPerRoundMax = 10_000;
const keysPerRoundMax = 1_000;
const lowestGateId = -(2 ** 31);

type ReopenerLedger = Pick<
  Ledger,
  "listParkedGates" | "reopenParked" | "readMeterLevels" | "readParkedAsks" | "readParkedHeads"
>;

export class GateReopener {
  readonly #ledger: ReopenerLedger;
  readonly #book: Pick<GateBook, "get" | "ledgerNowMs">;
  readonly #rooms: GateRooms;
  readonly #lanes: Pick<Lanes, "offer">;
  readonly #feed: Pick<JobFeed, "changed">;
  readonly #onRoom: () => void;
  readonly #onLevels: (levels: readonly ReadLevel[]) => Promise<void>;
  readonly #rounds: Rounds;
  #isAwaited = true;
  #lookedThrough = lowestGateId;
  #soon: NodeJS.Timeout | undefined;

  /**
   * @param onRoom lanes may have got room
   * @param onLevels how full metered gates are
   */
  constructor(
    ledger: ReopenerLedger,
    book: Pick<GateBook, "get" | "ledgerNowMs">,
    rooms: GateRooms,
    lanes: Pick<Lanes, "offer">,
    feed: Pick<JobFeed, "changed">,
    onRoom: () => void,
    onLevels: (levels: readonly ReadLevel[]) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#book = book;
    this.#rooms = rooms;
    this.#lanes = lanes;
    this.#feed = feed;
    this.#onRoom = onRoom;
    this.#onLevels = onLevels;
    this.#rounds = new Rounds(() => this.#round(), roundIntervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  /** A gate may have opened, or got room. */
  lookNow(): void {
    this.#rounds.hurry();
  }

  /** A claim found a meter full. */
  stopped(meterId: number): void {
    this.#isAwaited = true;
    this.#rooms.stopped(meterId);
  }

  /** A lease that held something of a meter has ended here. */
  meteredLeaseEnded(): void {
    if (!this.#isAwaited) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#rounds.hurry();
    }, roomSpacingMs);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#soon);
    await this.#rounds.stop();
  }

  async #round(): Promise<void> {
    const parkedAt = await this.#nextParkedAt();
    const watched = this.#rooms.watched();
    this.#rooms.beginLook();
    const metered = [...new Set([...parkedAt.filter((gateId) => this.#isMetered(gateId)), ...watched])];
    const levels = metered.length > 0 ? await this.#ledger.readMeterLevels(metered) : new Map();
    const keys = parkedAt.filter((gateId) => gateId < 0);
    const heads = keys.length > 0 ? await this.#ledger.readParkedHeads(keys) : new Map();
    const promising: number[] = [];
    for (const gateId of parkedAt) {
      const room =
        gateId < 0
          ? roomOfKey(levels.get(gateId), heads.get(gateId))
          : await this.#roomOf(gateId, levels.get(gateId));
      const jobsMax = Math.min(room, jobsPerRoundMax);
      if (jobsMax === 0) continue;
      const refs = await this.#ledger.reopenParked({ gateId, jobsMax });
      if (refs.length > 0 && isPreemptive(this.#book.get(gateId))) promising.push(gateId);
      this.#lanes.offer(refs);
      for (const { jobId } of refs) this.#feed.changed(jobId);
    }
    // Seats that were promised just now are no room for other lanes.
    const promised = promising.length > 0 ? await this.#ledger.readMeterLevels(promising) : new Map();
    for (const gateId of watched) {
      const gate = this.#book.get(gateId);
      const level = promised.get(gateId) ?? levels.get(gateId) ?? (gate && untouched(gate));
      this.#rooms.found(gateId, roomForLanes(level), level);
    }
    await this.#onLevels([...levels.values()]);
    this.#isAwaited = parkedAt.length > 0 || this.#rooms.isBounding();
    if (watched.length > 0) this.#onRoom();
  }

  /** Where jobs are parked: at gates and, of very many declared keys, at those whose turn it is. */
  async #nextParkedAt(): Promise<number[]> {
    const gates = await this.#ledger.listParkedGates(0, gatesPerRoundMax);
    const next = await this.#ledger.listParkedGates(this.#lookedThrough, keysPerRoundMax);
    const keys = next.filter((gateId) => gateId < 0);
    this.#lookedThrough = keys.length < keysPerRoundMax ? lowestGateId : (keys.at(-1) as number);
    return [...gates, ...keys];
  }

  #isMetered(gateId: number): boolean {
    const gate = this.#book.get(gateId);
    return gate ? isMetered(gate) : gateId < 0;
  }

  /** A gate that was removed stops nothing. */
  async #roomOf(gateId: number, level: MeterLevel | undefined): Promise<number> {
    const gate = this.#book.get(gateId);
    if (gate && holdOf(gate, this.#book.ledgerNowMs())) return 0;
    if (!level || !this.#isMetered(gateId)) return jobsPerRoundMax;
    if (isFull(level)) return 0;
    const { jobsMax, costMax, tokensMax } = level.limits;
    const places = jobsMax === null ? jobsPerRoundMax : jobsMax - level.jobs;
    // Amounts differ from job to job, and promises are to critical ones.
    if (costMax === null && tokensMax === null && level.promised === 0) return places;
    const waiting = await this.#ledger.readParkedAsks(gateId, Math.min(places, asksPerRoundMax));
    return fittingFrom(level, waiting);
  }
}

/** The level of a gate that no claim has asked yet. */
function untouched(gate: Gate): MeterLevel {
  const nothing = { jobs: 0, cost: 0, tokens: 0, promised: 0, turnsAtMs: null };
  return { meterId: gate.gateId, target: targetText(gate.target), limits: limitsOf(gate), ...nothing };
}

/** As many as its first job lets be in flight. */
function roomOfKey(level: MeterLevel | undefined, head: MeterAsk | undefined): number {
  if (!level || !head) return jobsPerRoundMax;
  const jobsMax = jobsLimit(level, head);
  return jobsMax === null ? jobsPerRoundMax : Math.max(jobsMax - level.jobs, 0);
}

function roomForLanes(level: MeterLevel | undefined): number {
  if (!level) return Number.POSITIVE_INFINITY;
  if (isFull(level)) return 0;
  const { jobsMax } = level.limits;
  const room = jobsMax === null ? jobsPerRoundMax : jobsMax - level.jobs;
  return room >= jobsPerRoundMax ? Number.POSITIVE_INFINITY : Math.max(room, 0);
}
