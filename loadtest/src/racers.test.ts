import { expect, test } from "vitest";
import { UsageError } from "./options.js";
import { chooseRacers, turnedBy } from "./racers.js";

const racers = ["holdfast", "raw"].map((name) => ({
  name,
  title: name,
  role: "holdfast" as const,
  settings: {},
  preload: async () => {},
  unfinishedQuery: "",
}));

test("without a choice all run, with one those that are named, in its order", () => {
  expect(chooseRacers(racers, null)).toBe(racers);
  expect(chooseRacers(racers, "raw,holdfast").map(({ name }) => name)).toEqual(["raw", "holdfast"]);
});

test("a name that nobody has is refused with those that there are", () => {
  expect(() => chooseRacers(racers, "raw,hurdfast")).toThrow(UsageError);
  expect(() => chooseRacers(racers, "hurdfast")).toThrow('no contestant "hurdfast"; there are holdfast, raw');
});

test("each round begins with the next", () => {
  const starts = [0, 1, 2, 3].map((round) => turnedBy(["a", "b", "c"], round)[0]);
  expect(starts).toEqual(["a", "b", "c", "a"]);
});
