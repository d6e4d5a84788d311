// Workers of one profile: they compete for the same lanes, take turns among each other, and choose alike.
import type { Credit } from "../domain/credit.js";
import { canServe, type Lane, type Ref, type WorkerProfile } from "../domain/lane.js";
import { type ChoiceParts, LaneChoice } from "./lane-choice.js";
import type { WorkerSession } from "./worker-session.js";

const keptMs = 60_000;
/** All lanes are looked at anew each second or, where there are many, not for this long for each of them. */
const lookPauseMsPerLane = 0.25;
/** Of all empty lanes it is said that they are, and then not for this long for each of them. */
const reportPauseMsPerLane = 0.05;

export class WorkerGroup {
  readonly profile: WorkerProfile;
  /** Sessions with credit; the first has waited longest for its turn. */
  readonly hungry = new Set<WorkerSession>();
  /** Those that it can serve, by number. */
  readonly #lanes = new Map<number, Lane>();
  readonly #choice: LaneChoice;
  /** The choice has to look at all lanes before it is asked. */
  #isOutOfDate = true;
  /** Credit that nothing of what waits fits into, as of the last news; -1: no such is known. */
  #tooFewBytes = -1;
  /** All that are hungry were tried in vain since the last news. */
  #isStuck = false;
  #usedAtMs = Date.now();
  #lookedAtMs = 0;
  #reportedAtMs = 0;

  constructor(profile: WorkerProfile, lanes: Iterable<Lane>, parts: ChoiceParts) {
    this.profile = profile;
    this.#choice = new LaneChoice(parts);
    for (const lane of lanes) this.add(lane);
  }

  /** A lane that became known. */
  add(lane: Lane): void {
    if (canServe(this.profile, lane)) this.#lanes.set(lane.laneId, lane);
  }

  has(laneId: number): boolean {
    return this.#lanes.has(laneId);
  }

  /** A session got credit, or can be sent to again. */
  addHungry(session: WorkerSession): void {
    this.hungry.add(session);
    if (session.credit.bytes > this.#tooFewBytes) this.#isStuck = false;
  }

  /** Something came into a lane. */
  noticed(laneId: number): void {
    const lane = this.#lanes.get(laneId);
    if (!lane) return;
    this.#hasNews();
    if (!this.#isOutOfDate) this.#choice.noticed(lane);
  }

  /** Another group took these: what stood in the way of smaller ones may be gone. */
  takenElsewhere(refs: readonly Ref[]): void {
    if (this.#tooFewBytes >= 0 && refs.some(({ laneId }) => this.#lanes.has(laneId))) this.#hasNews();
  }

  /** What lanes are compared by has changed. */
  orderChanged(): void {
    this.#isOutOfDate = true;
    this.#hasNews();
  }

  /** Now and then, in case something was not noticed. */
  lookAgain(nowMs: number): void {
    this.#hasNews();
    if (nowMs - this.#lookedAtMs >= this.#lanes.size * lookPauseMsPerLane) this.#isOutOfDate = true;
  }

  /** Nobody was hungry for a while: whose turn it is need not be remembered any more. */
  isForgotten(nowMs: number): boolean {
    return this.hungry.size === 0 && nowMs - this.#usedAtMs > keptMs;
  }

  /** To be called before takes, as often as gates may have opened. */
  lookAtHeld(): void {
    if (this.#choice.lookAtHeld()) this.#hasNews();
  }

  /**
   * Lets hungry sessions try in turn until one takes something: `claim` makes the claim, which spends its credit. Answers
   * whether one did. Those with less credit than was in vain already cost next to nothing, and all of them nothing until
   * there is news.
   */
  serveNext(jobsMax: number, claim: (session: WorkerSession, refs: readonly Ref[]) => void): boolean {
    if (this.#isStuck) return false;
    let untried = this.hungry.size;
    for (const session of this.hungry) {
      if (untried === 0) break;
      untried -= 1;
      this.hungry.delete(session);
      if (!session.isHungry) continue;
      const refs = this.#take(session.credit, jobsMax);
      if (refs.length > 0) claim(session, refs);
      // Back to the end of the queue: sessions of a group take turns.
      if (session.isHungry) this.hungry.add(session);
      if (refs.length > 0) return true;
      if (this.#tooFewBytes < 0) return false;
    }
    this.#isStuck = true;
    return false;
  }

  /** Lanes that may be empty: of many those that were found so just now at once, all of them now and then. */
  lanesToSeek(): Iterable<Lane> {
    const emptied = this.#choice.takeEmptied();
    const nowMs = performance.now();
    if (nowMs - this.#reportedAtMs < this.#lanes.size * reportPauseMsPerLane) return emptied;
    this.#reportedAtMs = nowMs;
    return this.#lanes.values();
  }

  #hasNews(): void {
    this.#tooFewBytes = -1;
    this.#isStuck = false;
  }

  #take(credit: Credit, jobsMax: number): Ref[] {
    if (credit.bytes <= this.#tooFewBytes) return [];
    this.#usedAtMs = Date.now();
    if (this.#isOutOfDate) {
      this.#choice.lookAtAll(this.#lanes.values());
      this.#isOutOfDate = false;
      this.#lookedAtMs = this.#usedAtMs;
    }
    const refs = this.#choice.take(Math.min(credit.jobs, jobsMax), credit.bytes);
    this.#tooFewBytes = this.#choice.wasTooLarge ? credit.bytes : -1;
    return refs;
  }
}
