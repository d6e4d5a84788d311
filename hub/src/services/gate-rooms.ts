import type { MeterLevel } from "../domain/meter.js";

/**
 * How many jobs metered gates have room for, as this hub last found. Only a hint, which keeps lanes from being claimed
 * from in vain: the claim judges by the ledger.
 */
export class GateRooms {
  /** Of every metered gate, with what is promised to critical jobs; Infinity where nothing bounds the number. */
  readonly #rooms = new Map<number, number>();
  readonly #levels = new Map<number, MeterLevel>();
  /** What was taken since the look under way began: it may not be part of what that finds. */
  readonly #takenSince = new Map<number, number>();
  /** Those that have stopped a job since they were last looked at. */
  readonly #stopped = new Set<number>();

  /** These are the metered gates now. One that is new has no room until somebody has looked. */
  watch(gateIds: readonly number[]): void {
    const wanted = new Set(gateIds);
    for (const known of this.#rooms.keys()) if (!wanted.has(known)) this.#forget(known);
    for (const gateId of gateIds) if (!this.#rooms.has(gateId)) this.#rooms.set(gateId, 0);
  }

  watched(): number[] {
    return [...this.#rooms.keys()];
  }

  /** Whether some gate bounds how many jobs start. */
  isBounding(): boolean {
    return [...this.#rooms.values()].some((room) => room !== Number.POSITIVE_INFINITY);
  }

  leastOf(gateIds: readonly number[]): number {
    let least = Number.POSITIVE_INFINITY;
    for (const gateId of gateIds) {
      const room = this.#rooms.get(gateId) ?? least;
      least = Math.min(least, room - (this.#levels.get(gateId)?.promised ?? 0));
    }
    return Math.max(least, 0);
  }

  /**
   * The same for critical jobs at seats that they may take from others: what is promised is for them, and one at a time may
   * come although they are full.
   */
  leastAtSeats(gateIds: readonly number[]): number {
    let least = Number.POSITIVE_INFINITY;
    for (const gateId of gateIds) {
      const room = this.#rooms.get(gateId) ?? least;
      least = Math.min(least, room === 0 && !this.#stopped.has(gateId) ? 1 : room);
    }
    return Math.max(least, 0);
  }

  /** A claim was stopped at a gate: it has no room until somebody has looked. */
  stopped(gateId: number): void {
    if (!this.#rooms.has(gateId)) return;
    this.#rooms.set(gateId, 0);
    this.#stopped.add(gateId);
  }

  /** The gate's level when it was last found to have no room. */
  fullLevel(gateId: number): MeterLevel | null {
    return this.#rooms.get(gateId) === 0 ? (this.#levels.get(gateId) ?? null) : null;
  }

  /** So many of the room are being claimed; negative when they did not start after all. */
  take(gateIds: readonly number[], jobs: number): void {
    for (const gateId of gateIds) {
      const room = this.#rooms.get(gateId);
      if (room === undefined) continue;
      // What was stopped comes back, too: that is no room.
      this.#rooms.set(gateId, this.#stopped.has(gateId) ? Math.min(room - jobs, 0) : room - jobs);
      if (jobs > 0) this.#takenSince.set(gateId, (this.#takenSince.get(gateId) ?? 0) + jobs);
    }
  }

  /** Somebody asks the ledger now. */
  beginLook(): void {
    this.#takenSince.clear();
  }

  /** What a look at the ledger found. */
  found(gateId: number, room: number, level?: MeterLevel): void {
    if (!this.#rooms.has(gateId)) return;
    this.#rooms.set(gateId, Math.max(room - (this.#takenSince.get(gateId) ?? 0), 0));
    this.#stopped.delete(gateId);
    if (level) this.#levels.set(gateId, level);
  }

  #forget(gateId: number): void {
    this.#rooms.delete(gateId);
    this.#levels.delete(gateId);
    this.#stopped.delete(gateId);
  }
}
