import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { EncodedResults } from "../wire/result-batch.js";
import { ResultPace } from "./result-pace.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function newPace() {
  const passed: number[] = [];
  const pace = new ResultPace(4, (results) => void passed.push(...results.refs));
  return { pace, passed };
}

function results(...refs: number[]): EncodedResults {
  return { bytes: new Uint8Array(0), refs: Float64Array.from(refs), ends: new Uint32Array(refs.length) };
}

describe("the pace of results", () => {
  it("lets results go at once when it is calm", () => {
    const { pace, passed } = newPace();

    pace.add(results(1));

    expect(passed).toEqual([1]);
    vi.advanceTimersByTime(4);
    pace.add(results(2));
    expect(passed).toEqual([1, 2]);
  });

  it("gathers what follows closely, and lets it go when the time is over", () => {
    const { pace, passed } = newPace();
    pace.add(results(1));

    pace.add(results(2));
    vi.advanceTimersByTime(3);
    pace.add(results(3));

    expect(passed).toEqual([1]);
    vi.advanceTimersByTime(1);
    expect(passed).toEqual([1, 2, 3]);
    pace.add(results(4));
    expect(passed).toEqual([1, 2, 3]);
    vi.advanceTimersByTime(4);
    expect(passed).toEqual([1, 2, 3, 4]);
  });

  it("does not hold up many", () => {
    const { pace, passed } = newPace();
    pace.add(results(1));

    pace.add(results(...Array.from({ length: 64 }, (_, at) => at + 2)));

    expect(passed).toHaveLength(65);
  });

  it("lets nothing that follows overtake results that wait", () => {
    const { pace, passed } = newPace();
    pace.add(results(1));
    pace.add(results(2));

    pace.flush();

    expect(passed).toEqual([1, 2]);
  });

  it("leaves no timer behind", () => {
    const { pace, passed } = newPace();
    pace.add(results(1));
    pace.add(results(2));

    pace.close();

    expect(passed).toEqual([1, 2]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
