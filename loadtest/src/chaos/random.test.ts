import { expect, test } from "vitest";
import { seededRandom } from "./random.js";

const draw = (seed: number) => {
  const random = seededRandom(seed);
  return Array.from({ length: 10_000 }, random);
};

test("the same seed gives the same numbers, another one others", () => {
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
});

test("numbers lie from 0 to below 1, spread evenly", () => {
  const numbers = draw(1);
  for (const number of numbers) expect(number >= 0 && number < 1).toBe(true);
  for (let tenth = 0; tenth < 10; tenth++) {
    const within = numbers.filter((number) => Math.floor(number * 10) === tenth).length;
    expect(Math.abs(within - 1_000)).toBeLessThan(150);
  }
});
