import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { partsOf } from "./call-parts.js";

const ofSizes = { itemsMax: 3, bytesMax: 10, bytesOf: (size: number) => size };
const split = (...sizes: number[]) => partsOf(ofSizes, sizes).map((part) => part.items);

describe("the items of one call", () => {
  it("stay together when they fit", () => {
    expect(split(1, 2, 7)).toEqual([[1, 2, 7]]);
    expect(split()).toEqual([]);
  });

  it("are split by number", () => expect(split(1, 1, 1, 1)).toEqual([[1, 1, 1], [1]]));

  it("are split by bytes", () => expect(split(6, 4, 1, 9, 9)).toEqual([[6, 4], [1, 9], [9]]));

  it("that are larger than a batch stand alone", () => expect(split(1, 40, 1)).toEqual([[1], [40], [1]]));

  it("come in order, none lost, in parts that are full or end the call", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 14 })), (sizes) => {
        const parts = partsOf(ofSizes, sizes);

        expect(parts.flatMap((part) => part.items)).toEqual(sizes);
        for (const [at, { items, bytes }] of parts.entries()) {
          expect(bytes).toBe(items.reduce((sum, size) => sum + size, 0));
          expect(items.length).toBeLessThanOrEqual(3);
          expect(items.length === 1 || bytes <= 10).toBe(true);
          const next = parts[at + 1]?.items[0];
          expect(next === undefined || items.length === 3 || bytes + next > 10).toBe(true);
        }
      }),
    );
  });
});
