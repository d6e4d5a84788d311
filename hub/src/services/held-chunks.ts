import type { SettledChunk } from "../domain/rate-draw.js";

export interface Chunk {
  readonly chunk: number;
  readonly tokens: number;
  readonly gotAtMs: number;
  readonly endsAtMs: number;
  /** When there is less than was wanted it is spread over the time until the next draw; 0: all at once. */
  readonly paceMs: number;
}

interface Held extends Chunk {
  left: number;
  /** When its last token was taken. */
  usedUpAtMs: number;
}

/** A chunk that will not be used any more. */
interface Ended {
  readonly chunk: number;
  readonly unused: number;
  readonly endedAtMs: number;
}

/**
 * The chunks that a hub holds of one gate, and those that it has yet to settle. The oldest is used first; a start that did
 * not happen goes back to one that is still good, and to none beyond its size.
 */
export class HeldChunks {
  #held: Held[] = [];
  #ended: Ended[] = [];
  /** When the first of those that are held ends. */
  #firstEndMs = Number.POSITIVE_INFINITY;

  add(chunk: Chunk): void {
    this.#held.push({ ...chunk, left: chunk.tokens, usedUpAtMs: chunk.gotAtMs });
    this.#firstEndMs = Math.min(this.#firstEndMs, chunk.endsAtMs);
  }

  /** Tokens that are left, and how many of them may be used by now. */
  count(nowMs: number): { readonly left: number; readonly ready: number } {
    this.expire(nowMs);
    let left = 0;
    let ready = 0;
    for (const one of this.#held) {
      left += one.left;
      ready += readyOf(one, nowMs);
    }
    return { left, ready };
  }

  /** Answers whether one of them is used up by this. */
  take(tokens: number, nowMs: number): boolean {
    let rest = tokens;
    let isUsedUp = false;
    for (const one of this.#held) {
      const taken = Math.min(rest, one.left);
      one.left -= taken;
      rest -= taken;
      if (taken === 0 || one.left > 0) continue;
      one.usedUpAtMs = nowMs;
      isUsedUp = true;
    }
    return isUsedUp;
  }

  giveBack(tokens: number, nowMs: number): void {
    this.expire(nowMs);
    let rest = tokens;
    for (const one of this.#held) {
      const back = Math.min(rest, one.tokens - one.left);
      one.left += back;
      rest -= back;
    }
  }

  /** Asked for every job that starts, so it looks at no chunk before the first of them ends. */
  expire(nowMs: number): void {
    if (nowMs >= this.#firstEndMs) this.#end(({ endsAtMs }) => nowMs >= endsAtMs, nowMs);
  }

  /** None of them is used any more. */
  endAll(nowMs: number): void {
    this.#end(() => true, nowMs);
  }

  /** The gate has forgotten all chunks. */
  clear(): void {
    this.#held = [];
    this.#ended = [];
    this.#firstEndMs = Number.POSITIVE_INFINITY;
  }

  /** When the next of them ends with something left. */
  get nextEndMs(): number {
    return Math.min(...this.#held.filter(({ left }) => left > 0).map(({ endsAtMs }) => endsAtMs));
  }

  /** Some are used up or over, and the gate does not know. */
  get hasEnded(): boolean {
    return this.#ended.length > 0 || this.#held.some(({ left }) => left === 0);
  }

  /** What the gate is to be told; it is told once unless it is put back. */
  takeSettled(nowMs: number): SettledChunk[] {
    this.expire(nowMs);
    this.#end(({ left }) => left === 0, nowMs);
    const settled = this.#ended.map(({ chunk, unused, endedAtMs }) => ({
      chunk,
      unused,
      endedAgoMs: nowMs - endedAtMs,
    }));
    this.#ended = [];
    return settled;
  }

  putBackSettled(settled: readonly SettledChunk[], takenAtMs: number): void {
    for (const { chunk, unused, endedAgoMs } of settled)
      this.#ended.push({ chunk, unused, endedAtMs: takenAtMs - endedAgoMs });
  }

  #end(isOver: (chunk: Held) => boolean, nowMs: number): void {
    const over = this.#held.filter(isOver);
    if (over.length === 0) return;
    this.#held = this.#held.filter((chunk) => !over.includes(chunk));
    this.#firstEndMs = Math.min(...this.#held.map(({ endsAtMs }) => endsAtMs));
    for (const { chunk, left, usedUpAtMs, endsAtMs } of over)
      this.#ended.push({
        chunk,
        unused: left,
        endedAtMs: left === 0 ? usedUpAtMs : Math.min(nowMs, endsAtMs),
      });
  }
}

function readyOf({ tokens, left, gotAtMs, paceMs }: Held, nowMs: number): number {
  if (paceMs === 0) return left;
  const share = Math.min(1, (nowMs - gotAtMs) / paceMs);
  return Math.max(0, Math.min(left, Math.floor(tokens * share) + 1 - (tokens - left)));
}
