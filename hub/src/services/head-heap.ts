import type { Lane, Ref } from "../domain/lane.js";

/** The first ref of a lane when it was looked at. */
export interface Head {
  readonly lane: Lane;
  readonly ref: Ref;
  readonly score: number;
}

/** Heads of lanes, best first: a binary heap. A lane that moved on has its former heads here until they come up. */
export class HeadHeap {
  readonly #heads: Head[] = [];
  /** The newest head of each lane: pushing it again changes nothing. */
  readonly #newest = new Map<number, Ref>();

  get size(): number {
    return this.#heads.length;
  }

  best(): Head | undefined {
    return this.#heads[0];
  }

  push(head: Head): void {
    const { laneId } = head.lane;
    if (this.#newest.get(laneId) === head.ref) return;
    this.#newest.set(laneId, head.ref);
    const heads = this.#heads;
    let at = heads.push(head) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(head, heads[above] as Head)) break;
      heads[at] = heads[above] as Head;
      at = above;
    }
    heads[at] = head;
  }

  pop(): Head | undefined {
    const heads = this.#heads;
    const best = heads[0];
    if (best && this.#newest.get(best.lane.laneId) === best.ref) this.#newest.delete(best.lane.laneId);
    const last = heads.pop();
    if (last === undefined || heads.length === 0) return best;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heads.length) break;
      if (below + 1 < heads.length && isBefore(heads[below + 1] as Head, heads[below] as Head)) below += 1;
      if (!isBefore(heads[below] as Head, last)) break;
      heads[at] = heads[below] as Head;
      at = below;
    }
    heads[at] = last;
    return best;
  }
}

/** The better score first; of two that became ready in one commit, the one with the earlier place. */
export function isBefore(one: Head, other: Head): boolean {
  if (one.score !== other.score) return one.score > other.score;
  return one.ref.readyKey < other.ref.readyKey;
}
