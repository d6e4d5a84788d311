import { describe, expect, it } from "vitest";
import { canChange, isTerminal, JobState, transitions } from "./job-state.js";

const { Blocked, Scheduled, Ready, Parked, Leased, Succeeded, Dead, Cancelled } = JobState;
const states = Object.values(JobState);

/** Rows change into columns; written out by hand, apart from the table that it checks. */
const allowed: Readonly<Record<JobState, string>> = {
  //            B S R P L S D C
  [Blocked]: "  . x x . . . x x",
  [Scheduled]: ". . x . . . x x",
  [Ready]: "    . . . x x . x x",
  [Parked]: "   . . x . . . x x",
  [Leased]: "   . x x x x x x x",
  [Succeeded]: ". . . . . . . .",
  [Dead]: "     . . x . . . . .",
  [Cancelled]: ". . . . . . . .",
};

const pairs = states.flatMap((from) => {
  const marks = allowed[from].trim().split(/\s+/);
  return states.map((to, at) => ({ from, to, may: marks[at] === "x" }));
});

describe("the states of a job (D3)", () => {
  it.each(pairs)("from $from to $to: $may", ({ from, to, may }) => {
    expect(canChange(from, to)).toBe(may);
  });

  it("are numbered 1 to 8 and each has its row in the table", () => {
    expect(states).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(Object.keys(transitions).map(Number)).toEqual(states);
  });

  it("are terminal from SUCCEEDED on, and only an operator leads out of DEAD", () => {
    expect(states.filter(isTerminal)).toEqual([Succeeded, Dead, Cancelled]);
    expect(states.filter((state) => transitions[state].length === 0)).toEqual([Succeeded, Cancelled]);
    expect(transitions[Dead]).toEqual([Ready]);
  });

  it("are only left for SUCCEEDED by a lease", () => {
    expect(states.filter((from) => canChange(from, Succeeded))).toEqual([Leased]);
  });
});
