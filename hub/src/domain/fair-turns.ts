// Deficit round robin over fairness keys (Shreedhar and Varghese, 1995), where a job costs 1: keys take turns, and a turn
// is worth as many jobs as the key's weight is times the smallest weight that waits. So every turn is worth a job at
// least, and weights of 100, 200 and 400 share as smoothly as 1, 2 and 4 do. What is left of a turn, less than a job,
// counts in the next one.
//
// Invariants
//  1. Only keys that wait have a place and a deficit: one whose work ran out comes back at the end, with nothing saved.
//  2. A turn that has begun goes on in the next walk; one that is used up is over at once, however few jobs a walk takes.

interface Share {
  weight: number;
  /** Jobs that it may still start in this turn; below 1 its turn has not come. */
  deficit: number;
}

/** Whose turn it is, job by job. It goes on as long as there is somebody to serve. */
export interface FairWalk {
  /** The key that may start a job now; undefined when all were passed over. */
  current(): string | undefined;
  /** The current key started one. */
  served(): void;
  /** The current key can start none just now: it keeps its turn for the next walk. */
  passOver(): void;
}

export class FairTurns {
  /** In order of turns. */
  readonly #shares = new Map<string, Share>();
  /** How many keys that wait have each weight. */
  readonly #weights = new Map<number, number>();
  #weightMin = 1;

  keys(): IterableIterator<string> {
    return this.#shares.keys();
  }

  has(key: string): boolean {
    return this.#shares.has(key);
  }

  /** Something of this key waits. A key that is new comes last; of one that is not, the weight may have changed. */
  join(key: string, weight: number): void {
    const share = this.#shares.get(key);
    if (share?.weight === weight) return;
    if (share) {
      this.#count(share.weight, -1);
      share.weight = weight;
    } else {
      this.#shares.set(key, { weight, deficit: 0 });
    }
    this.#count(weight, 1);
  }

  /** Nothing of this key waits any more. */
  leave(key: string): void {
    const share = this.#shares.get(key);
    if (!share) return;
    this.#shares.delete(key);
    this.#count(share.weight, -1);
  }

  walk(): FairWalk {
    // Comes to what is put at the end meanwhile, too.
    const order = this.#shares.keys();
    let current = order.next().value;
    return {
      current: () => {
        while (current !== undefined && !this.#shares.has(current)) current = order.next().value;
        const share = current === undefined ? undefined : this.#shares.get(current);
        if (share && share.deficit < 1) share.deficit += share.weight / this.#weightMin;
        return current;
      },
      served: () => {
        const share = current === undefined ? undefined : this.#shares.get(current);
        if (current === undefined || !share) return;
        share.deficit -= 1;
        if (share.deficit >= 1) return;
        this.#shares.delete(current);
        this.#shares.set(current, share);
        current = order.next().value;
      },
      passOver: () => {
        current = order.next().value;
      },
    };
  }

  #count(weight: number, change: 1 | -1): void {
    const count = (this.#weights.get(weight) ?? 0) + change;
    if (count > 0) this.#weights.set(weight, count);
    else this.#weights.delete(weight);
    if (weight < this.#weightMin || this.#weights.get(this.#weightMin) === undefined)
      this.#weightMin = Math.min(...this.#weights.keys());
  }
}
