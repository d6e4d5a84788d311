// Which lane is served next, for workers that compete for the same lanes (docs/ordering.md, docs/adr/0026).
//
// Heads of lanes are compared by score. A lane without a fairness key competes for itself. Those of one priority class
// that have a key compete as one party, with the score of its best head: when that one would be served, the keys decide
// whose job goes, by deficit round robin. Within a key the best head goes first.
//
// Invariants
//  1. A head that is here is its lane's, or was: it is compared with the lane when it comes up, so whoever takes from a
//     lane tells nobody. What comes into a lane that was empty, or before its head, must be said (`noticed`).
//  2. A lane that is held at a gate stands apart, and takes no part until the gate lets something pass.
//  3. A job costs the logarithm of the number of lanes that wait, whatever their number.
import { FairTurns, type FairWalk } from "../domain/fair-turns.js";
import type { Priority } from "../domain/job-spec.js";
import type { Lane, Ref } from "../domain/lane.js";
import { timelessScore } from "../domain/score.js";
import type { ScoreWeights } from "../domain/score-weights.js";
import type { Lanes } from "../lanes/lanes.js";
import { type Head, HeadHeap, isBefore } from "./head-heap.js";
import type { LaneGates } from "./lane-gates.js";

/** What a choice is made of. */
export interface ChoiceParts {
  readonly lanes: Pick<Lanes, "head" | "take">;
  /** Bounds what may start of each lane: asked whenever a head of it comes up. */
  readonly gates: Pick<LaneGates, "startsMax" | "take">;
  readonly scoreWeights: (lane: Lane) => ScoreWeights;
  /** Share of the lane's fairness key beside the others'. */
  readonly fairnessWeight: (lane: Lane) => number;
}

/** The lanes of one priority class that have a fairness key. */
interface KeyedClass {
  readonly turns: FairTurns;
  /** Heads of lanes that wait, by fairness key. */
  readonly headsOf: Map<string, HeadHeap>;
}

/** One take: what it cannot have waits aside until it is over, so that it does not hold up the others. */
class Taking {
  readonly #walks = new Map<KeyedClass, FairWalk>();
  readonly #aside: { readonly heap: HeadHeap; readonly head: Head }[] = [];
  readonly #passedOver = new Set<HeadHeap>();

  walkOf(keyed: KeyedClass): FairWalk {
    const walk = this.#walks.get(keyed) ?? keyed.turns.walk();
    this.#walks.set(keyed, walk);
    return walk;
  }

  putAside(heap: HeadHeap): void {
    const head = heap.pop();
    if (head) this.#aside.push({ heap, head });
    this.#passedOver.add(heap);
  }

  hasPutAside(heap: HeadHeap): boolean {
    return this.#passedOver.has(heap);
  }

  end(): void {
    for (const { heap, head } of this.#aside) heap.push(head);
  }
}

export class LaneChoice {
  readonly #parts: ChoiceParts;
  readonly #classes = new Map<Priority, KeyedClass>();
  #heads = new HeadHeap();
  #emptied = new Set<Lane>();
  readonly #held = new Map<number, Lane>();
  #wasTooLarge = false;

  constructor(parts: ChoiceParts) {
    this.#parts = parts;
  }

  /** Looks at all lanes anew. Whose turn it is stays as it was. */
  lookAtAll(lanes: Iterable<Lane>): void {
    this.#heads = new HeadHeap();
    this.#held.clear();
    for (const { headsOf } of this.#classes.values()) headsOf.clear();
    const newcomers: Head[] = [];
    for (const lane of lanes) {
      const head = this.#look(lane);
      if (!head) continue;
      const { fairnessKey, priority } = lane;
      if (fairnessKey === "" || this.#classes.get(priority)?.turns.has(fairnessKey)) this.#enter(head);
      else newcomers.push(head);
    }
    // The key that has waited longest has its first turn before other new ones.
    newcomers.sort((one, other) => (isBefore(one, other) ? -1 : 1));
    for (const head of newcomers) this.#enter(head);
    for (const { turns, headsOf } of this.#classes.values())
      for (const key of turns.keys()) if (!headsOf.has(key)) turns.leave(key);
  }

  /**
   * Lanes that were held may be so no more: to be called before takes, as often as gates may have opened. Answers whether
   * one has.
   */
  lookAtHeld(): boolean {
    let hasOpened = false;
    for (const [laneId, lane] of this.#held) {
      if (this.#parts.gates.startsMax(lane) <= 0) continue;
      hasOpened = true;
      this.#held.delete(laneId);
      this.noticed(lane);
    }
    return hasOpened;
  }

  /** Whether the newest take came to nothing because all that may start is too large. */
  get wasTooLarge(): boolean {
    return this.#wasTooLarge;
  }

  /** Something came into this lane. */
  noticed(lane: Lane): void {
    const head = this.#look(lane);
    if (head) this.#enter(head);
  }

  /** Takes refs in the order of service, up to so many and so many bytes; none when nothing that fits may start. */
  take(jobsMax: number, bytesMax: number): Ref[] {
    const taken: Ref[] = [];
    const taking = new Taking();
    let bytes = bytesMax;
    this.#wasTooLarge = false;
    while (taken.length < jobsMax) {
      const best = this.#best(this.#heads);
      if (!best) {
        this.#wasTooLarge = taken.length === 0 && taking.hasPutAside(this.#heads);
        break;
      }
      // With one lane waiting, all may come from it; otherwise it leads only as long as its head scores best.
      const isAlone = this.#heads.size === 1;
      const keyed = isAlone ? undefined : this.#keyedClass(best.lane);
      const next = keyed ? this.#bestInTurn(keyed, taking, bytes) : best;
      if (!next || next.ref.bytes > bytes) {
        taking.putAside(this.#heads);
        continue;
      }
      const refs = this.#takeFrom(next, isAlone ? jobsMax - taken.length : 1, bytes);
      // Its gates shut in this very moment.
      if (refs.length === 0) break;
      for (const ref of refs) bytes -= ref.bytes;
      taken.push(...refs);
      if (keyed) this.#served(keyed, next.lane, taking);
    }
    taking.end();
    return taken;
  }

  /** Lanes that were found empty since the last time. */
  takeEmptied(): ReadonlySet<Lane> {
    const emptied = this.#emptied;
    if (emptied.size > 0) this.#emptied = new Set();
    return emptied;
  }

  /** The best head of the key whose turn it is; undefined when no key has one that fits. */
  #bestInTurn(keyed: KeyedClass, taking: Taking, bytes: number): Head | undefined {
    const walk = taking.walkOf(keyed);
    for (let key = walk.current(); key !== undefined; key = walk.current()) {
      const heads = keyed.headsOf.get(key);
      let best = heads && this.#best(heads);
      while (heads && best && best.ref.bytes > bytes) {
        taking.putAside(heads);
        best = this.#best(heads);
      }
      if (best) return best;
      if (heads && taking.hasPutAside(heads)) walk.passOver();
      else this.#leave(keyed, key);
    }
    return undefined;
  }

  #served(keyed: KeyedClass, { fairnessKey }: Lane, taking: Taking): void {
    taking.walkOf(keyed).served();
    const heads = keyed.headsOf.get(fairnessKey);
    if (heads && !taking.hasPutAside(heads) && !this.#best(heads)) this.#leave(keyed, fairnessKey);
  }

  #leave(keyed: KeyedClass, key: string): void {
    keyed.turns.leave(key);
    keyed.headsOf.delete(key);
  }

  #takeFrom({ lane }: Head, jobsMax: number, bytesMax: number): Ref[] {
    const { lanes, gates } = this.#parts;
    const refs = lanes.take(lane.laneId, Math.min(jobsMax, gates.startsMax(lane)), bytesMax);
    gates.take(lane.laneId, refs.length);
    this.noticed(lane);
    return refs;
  }

  /** The best head that is its lane's still; what is not is brought up to date on the way. */
  #best(heap: HeadHeap): Head | undefined {
    for (let head = heap.best(); head; head = heap.best()) {
      const { lane, ref } = head;
      const isHeld = this.#parts.gates.startsMax(lane) <= 0;
      if (!isHeld && this.#parts.lanes.head(lane.laneId) === ref) return head;
      heap.pop();
      const now = isHeld ? undefined : this.#look(lane);
      if (now) heap.push(now);
      if (isHeld) this.#held.set(lane.laneId, lane);
    }
    return undefined;
  }

  #look(lane: Lane): Head | undefined {
    const ref = this.#parts.lanes.head(lane.laneId);
    if (ref) return { lane, ref, score: timelessScore(this.#parts.scoreWeights(lane), lane, ref) };
    this.#emptied.add(lane);
    return undefined;
  }

  #enter(head: Head): void {
    this.#heads.push(head);
    const { lane } = head;
    const keyed = this.#keyedClass(lane);
    if (!keyed) return;
    const { turns, headsOf } = keyed;
    let heads = headsOf.get(lane.fairnessKey);
    if (!heads) {
      heads = new HeadHeap();
      headsOf.set(lane.fairnessKey, heads);
    }
    heads.push(head);
    turns.join(lane.fairnessKey, this.#parts.fairnessWeight(lane));
  }

  #keyedClass({ fairnessKey, priority }: Lane): KeyedClass | undefined {
    if (fairnessKey === "") return undefined;
    let keyed = this.#classes.get(priority);
    if (!keyed) {
      keyed = { turns: new FairTurns(), headsOf: new Map() };
      this.#classes.set(priority, keyed);
    }
    return keyed;
  }
}
