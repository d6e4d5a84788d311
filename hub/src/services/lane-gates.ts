// What the dispatcher asks of the gates: how many jobs of a lane may start now. Gates that whole lanes wait at are not
// crossed job by job: a lane that is held is left alone, whatever waits in it, and costs nothing.
import { nextEdgeMs } from "../domain/blackout.js";
import {
  type Gate,
  gatesBefore,
  type Hold,
  holdOf,
  isMetered,
  isPreemptive,
  isRateGate,
} from "../domain/gate.js";
import { Priority } from "../domain/job-spec.js";
import type { Lane, LaneKey } from "../domain/lane.js";
import { fullReason } from "../domain/meter.js";
import { rateHoldOf } from "../domain/rate-gate.js";
import type { Allowance } from "./allowance.js";
import type { Allowances } from "./allowances.js";
import type { GateBook } from "./gate-book.js";
import type { GateRooms } from "./gate-rooms.js";

/** How many jobs of a lane may start, as the dispatcher sees it. */
export interface LaneGates {
  /** What claims are made under. */
  readonly epoch: number;
  /** To be asked when something waits in the lane. 0: the lane is held. Infinity: nothing bounds it. */
  startsMax(lane: Lane): number;
  /** Nothing of the lane may start, whatever waits in it. */
  isShut(lane: Lane): boolean;
  /** So many jobs of the lane are being claimed. */
  take(laneId: number, jobs: number): void;
  /** Of those, so many did not start. */
  giveBack(laneId: number, jobs: number): void;
  /** Meters that stand before a lane, in the order in which they are asked. */
  metersOf(lane: Lane): readonly number[];
  /** A claim was refused because the gates had changed: every lane is held until they are known again. */
  changed(): void;
}

interface LaneHold {
  readonly hold: Hold | null;
  /** When it has to be judged again; on the monotonic clock of this machine. */
  readonly staleAtMs: number;
}

const noMeters: readonly number[] = [];
/** Gates that depend on the time are judged again this often, and when a window may begin or end. */
const judgedForMs = 1_000;

export class GatedLanes implements LaneGates {
  readonly #book: GateBook;
  readonly #rooms: GateRooms;
  readonly #allowances: Allowances;
  /** Of lanes that some gate stands before; the others are in `#free`. */
  readonly #gates = new Map<number, readonly Gate[]>();
  readonly #free = new Set<number>();
  readonly #holds = new Map<number, LaneHold>();
  /** Of lanes that rate gates stand before. */
  readonly #rates = new Map<number, readonly Allowance[]>();
  /** Of the gates before a lane, those with a meter. */
  readonly #meters = new Map<number, readonly number[]>();

  constructor(book: GateBook, rooms: GateRooms, allowances: Allowances) {
    this.#book = book;
    this.#rooms = rooms;
    this.#allowances = allowances;
    const know = () => {
      rooms.watch([...book.all()].filter(isMetered).map(({ gateId }) => gateId));
      allowances.adopt(book.all());
    };
    know();
    book.onChange(() => {
      this.#gates.clear();
      this.#free.clear();
      this.#holds.clear();
      this.#rates.clear();
      this.#meters.clear();
      know();
    });
  }

  get epoch(): number {
    return this.#book.epoch;
  }

  startsMax(lane: Lane): number {
    if (this.#book.isOutdated) return 0;
    if (this.#free.has(lane.laneId)) return Number.POSITIVE_INFINITY;
    if (this.#shutBy(lane)) return 0;
    const nowMs = performance.now();
    let startsMax = this.#roomFor(lane);
    if (startsMax === 0) return 0;
    // Nothing is drawn from a gate behind one that is shut.
    for (const allowance of this.ratesOf(lane)) {
      startsMax = Math.min(startsMax, allowance.startsMax(nowMs));
      if (startsMax === 0) break;
    }
    return startsMax;
  }

  #roomFor(lane: Lane): number {
    const meters = this.metersOf(lane);
    if (lane.priority !== Priority.Critical) return this.#rooms.leastOf(meters);
    const isTaken = (gateId: number) => isPreemptive(this.#book.get(gateId));
    const others = this.#rooms.leastOf(meters.filter((gateId) => !isTaken(gateId)));
    return Math.min(others, this.#rooms.leastAtSeats(meters.filter(isTaken)));
  }

  metersOf(lane: Lane): readonly number[] {
    if (this.#free.has(lane.laneId)) return noMeters;
    const known = this.#meters.get(lane.laneId);
    if (known) return known;
    const meters = this.gatesOf(lane)
      .filter(isMetered)
      .map(({ gateId }) => gateId);
    this.#meters.set(lane.laneId, meters);
    return meters;
  }

  isShut(lane: Lane): boolean {
    if (this.#book.isOutdated) return true;
    return !this.#free.has(lane.laneId) && this.#shutBy(lane) !== null;
  }

  /** What this hub holds of the rate gates before a lane, in the order in which they are asked. */
  ratesOf(lane: Lane): readonly Allowance[] {
    const known = this.#rates.get(lane.laneId);
    if (known) return known;
    const rates = this.gatesOf(lane).flatMap(({ gateId }) => this.#allowances.get(gateId) ?? []);
    this.#rates.set(lane.laneId, rates);
    return rates;
  }

  /** By settings and the time alone. */
  #shutBy(lane: Lane): Hold | null {
    const atMs = performance.now();
    const known = this.#holds.get(lane.laneId);
    if (known && atMs < known.staleAtMs) return known.hold;
    const nowMs = this.#book.ledgerNowMs();
    let hold: Hold | null = null;
    for (const gate of this.gatesOf(lane)) {
      hold = holdOf(gate, nowMs);
      if (hold) break;
    }
    const staleAtMs = atMs + Math.min(judgedForMs, nextEdgeMs(nowMs) - nowMs);
    this.#holds.set(lane.laneId, { hold, staleAtMs });
    return hold;
  }

  /** Why nothing passes a gate now, as far as this hub knows; null when something may. */
  holdAt(gate: Gate): Hold | null {
    if (!isRateGate(gate)) return holdOf(gate, this.#book.ledgerNowMs()) ?? this.#fullness(gate);
    const allowance = this.#allowances.get(gate.gateId);
    if (allowance?.isAheadOf(gate)) return allowance.holdOf(performance.now());
    return allowance?.holdOf(performance.now()) ?? rateHoldOf(gate, this.#book.ledgerNowMs());
  }

  #fullness(gate: Gate): Hold | null {
    const level = this.#rooms.fullLevel(gate.gateId);
    const reason = level && fullReason(level);
    return level && reason !== null ? { gate, reason, untilMs: level.turnsAtMs } : null;
  }

  /** The gates before a lane, in the order in which they are asked. */
  gatesOf(lane: Lane): readonly Gate[] {
    const known = this.#gates.get(lane.laneId);
    if (known) return known;
    const gates = this.gatesFor(lane);
    this.#gates.set(lane.laneId, gates);
    if (gates.length === 0) this.#free.add(lane.laneId);
    return gates;
  }

  gatesFor(lane: LaneKey): readonly Gate[] {
    return gatesBefore([...this.#book.all()], lane);
  }

  take(laneId: number, jobs: number): void {
    this.#rooms.take(this.#meters.get(laneId) ?? noMeters, jobs);
    const rates = this.#rates.get(laneId) ?? [];
    const nowMs = rates.length > 0 ? performance.now() : 0;
    for (const allowance of rates) allowance.take(jobs, nowMs);
  }

  giveBack(laneId: number, jobs: number): void {
    this.#rooms.take(this.#meters.get(laneId) ?? noMeters, -jobs);
    const rates = this.#rates.get(laneId) ?? [];
    const nowMs = rates.length > 0 ? performance.now() : 0;
    for (const allowance of rates) allowance.giveBack(jobs, nowMs);
  }

  changed(): void {
    this.#book.outdated();
  }
}
