import { expect, test } from "vitest";
import { parseOptions, UsageError } from "./options.js";

const own = {
  jobs: { unit: "count", default: 100, range: [10, 1_000], help: "" },
  only: { unit: "text", default: null, help: "" },
} as const;
const common = { profile: { unit: "switch", help: "" } } as const;
const parse = (...args: string[]) => parseOptions(own, common, args);

test("flags win over defaults, and each table gets its own", () => {
  expect(parse("--jobs", "20", "--profile")).toEqual({
    values: { jobs: 20, only: null },
    common: { profile: true },
  });
  expect(parse("--only=raw")).toEqual({ values: { jobs: 100, only: "raw" }, common: { profile: false } });
});

test.each([
  ["--jobs", "9"],
  ["--jobs", "1001"],
  ["--jobs", "1.5"],
  ["--jobs", "many"],
  ["--jobs", ""],
])("%s %s is refused with the range that is allowed", (flag, value) => {
  expect(() => parse(flag, value)).toThrow(
    new UsageError(`--jobs must be a whole number from 10 to 1000, not "${value}".`),
  );
});

test.each([["--joks", "20"], ["drain"], ["--jobs"], ["--profile=yes"]])("%s is refused", (...args) => {
  expect(() => parse(...args)).toThrow(UsageError);
});
