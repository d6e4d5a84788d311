import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom, seedOf, xoshiro128 } from "./job-seed.js";

describe("a seed", () => {
  test("is the first 16 bytes of a SHA-256 over a fixed text, so that other languages can make it", () => {
    const seed = seedOf("01980000-0000-7000-8000-000000000000");
    expect(Buffer.from(seed).toString("hex")).toBe("ba0ba7a6caa45ce0c51e33de835feaa1");
  });

  test("yields the outputs of the published generator", () => {
    const seed = new Uint8Array(new Uint32Array([1, 2, 3, 4]).buffer);
    const next = xoshiro128(seed);
    expect(Array.from({ length: 6 }, next)).toEqual([11520, 0, 5927040, 70819200, 2031721883, 1637235492]);
  });

  test("yields the same numbers again, each from 0 up to 1", () => {
    fc.assert(
      fc.property(fc.uuid(), (jobId) => {
        const numbers = () => Array.from({ length: 20 }, seededRandom(seedOf(jobId)));
        expect(numbers()).toEqual(numbers());
        expect(numbers().every((number) => number >= 0 && number < 1)).toBe(true);
      }),
    );
  });
});
