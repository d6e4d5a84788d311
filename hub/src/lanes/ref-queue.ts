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
    const waiting = this.#refs.slice(this.#start);
    const first = waiting[0];
    const isBefore = first === undefined || refs.every((ref) => ref.readyKey < first.readyKey);
    const here = isBefore ? null : new Set(waiting.map((ref) => ref.jobId));
    const back = refs.filter((ref) => !here?.has(ref.jobId)).sort(byPlace);
    this.#refs = isBefore ? [...back, ...waiting] : [...back, ...waiting].sort(byPlace);
    this.#start = 0;
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

function byPlace(one: Ref, other: Ref): number {
  return one.readyKey - other.readyKey;
}
