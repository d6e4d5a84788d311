import { createHash } from "node:crypto";

export const seedBytes = 16;

/** The seed of a job and of all its replays (holdfast.v1.Lease.origin_job_id says how anybody can make it). */
export function seedOf(originJobId: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(`holdfast.seed/${originJobId}`).digest()).subarray(
    0,
    seedBytes,
  );
}

/**
 * Numbers from 0 up to, but not including, 1, with 53 random bits each: the same sequence for the same seed. The
 * generator is xoshiro128** 1.1 (D. Blackman, S. Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021), whose
 * state is the seed read as four little-endian words; each number takes two of its outputs. Not for secrets.
 */
export function seededRandom(seed: Uint8Array): () => number {
  const next = xoshiro128(seed);
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

/** @param seed sixteen bytes that are not all zero */
export function xoshiro128(seed: Uint8Array): () => number {
  const words = new DataView(seed.buffer, seed.byteOffset, seedBytes);
  let [a, b, c, d] = [0, 4, 8, 12].map((at) => words.getInt32(at, true)) as [number, number, number, number];
  return () => {
    const output = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return output;
  };
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
