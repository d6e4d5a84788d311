import fc from "fast-check";
import { expect, test } from "vitest";
import { Fifo } from "./fifo.js";

test("a queue gives back in order what it was given, whatever is taken out of its middle", () => {
  const step = fc.oneof(
    fc.integer({ min: 1, max: 3_000 }).map((count) => ({ push: count })),
    fc.integer({ min: 1, max: 3_000 }).map((count) => ({ shift: count })),
    fc.integer({ min: 2, max: 7 }).map((divisor) => ({ remove: divisor })),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const queue = new Fifo<number>();
      let model: number[] = [];
      let next = 0;
      for (const taken of steps) {
        if ("push" in taken) {
          for (let i = 0; i < taken.push; i++) {
            queue.push(next);
            model.push(next++);
          }
        } else if ("shift" in taken) {
          for (let i = 0; i < taken.shift; i++) expect(queue.shift()).toBe(model.shift());
        } else {
          const belongs = (item: number) => item % taken.remove === 0;
          expect(queue.remove(belongs)).toEqual(model.filter(belongs));
          model = model.filter((item) => !belongs(item));
        }
        expect(queue.length).toBe(model.length);
      }
    }),
    { numRuns: 50 },
  );
});
