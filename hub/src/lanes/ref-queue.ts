import type { Ref } from "../domain/lane.js";

const compactAt = 1_024;

/** Refs in order: taken at the front, added at the end, and put back into their places. */
export class RefQueue {
  #refs: Ref[] = [];
  #start = 0;

  get size(): number {
    return this.#refs.length - this.#start;
  }

  first(): Ref | undefined {
    return this.#refs[this.#start];
  }

  last(): Ref | undefined {
    return this.size > 0 ? this.#refs.at(-1) : undefined;
  }

  add(ref: Ref): void {
    this.#refs.push(ref);
  }

  /** Puts refs that had left back into their places; one that waits here already is not repeated. */
  putBack(refs: readonly Ref[]): void {
    const back = [...refs].sort(byPlace);
    const waiting = this.#refs.slice(this.#start);
    this.#start = 0;
    if (isBefore(back, waiting)) this.#refs = [...back, ...waiting];
    else if (isBefore(waiting, back)) this.#refs = [...waiting, ...back];
    else {
      const here = new Set(waiting.map((ref) => ref.jobId));
      this.#refs = [...waiting, ...back.filter((ref) => !here.has(ref.jobId))].sort(byPlace);
    }
  }

  take(jobsMax: number, bytesMax: number): Ref[] {
    let end = this.#start;
    let bytes = 0;
    while (end < this.#refs.length && end - this.#start < jobsMax) {
      bytes += (this.#refs[end] as Ref).bytes;
      if (bytes > bytesMax) break;
      end += 1;
    }
    const taken = this.#refs.slice(this.#start, end);
    this.#start = end;
    if (this.#start > compactAt && this.#start * 2 > this.#refs.length) {
      this.#refs = this.#refs.slice(this.#start);
      this.#start = 0;
    }
    return taken;
  }
}

/** Of two stretches in order. */
function isBefore(one: readonly Ref[], other: readonly Ref[]): boolean {
  const [last, first] = [one.at(-1), other[0]];
  return last === undefined || first === undefined || last.readyKey < first.readyKey;
}

function byPlace(one: Ref, other: Ref): number {
  return one.readyKey - other.readyKey;
}
