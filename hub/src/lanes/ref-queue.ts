import type { Ref } from "../domain/lane.js";

const compactAt = 1_024;

/** Refs in order, taken at the front and added at either end. */
export class RefQueue {
  #refs: Ref[] = [];
  #start = 0;

  get size(): number {
    return this.#refs.length - this.#start;
  }

  first(): Ref | undefined {
    return this.#refs[this.#start];
  }

  add(ref: Ref): void {
    this.#refs.push(ref);
  }

  addFirst(refs: readonly Ref[]): void {
    this.#refs = [...refs, ...this.#refs.slice(this.#start)];
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
