import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Rounds } from "./rounds.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe("rounds", () => {
  it("come again after a pause, also after one that failed", async () => {
    const errors: unknown[] = [];
    let count = 0;
    const rounds = new Rounds(
      async () => {
        count += 1;
        if (count === 2) throw new Error("once");
      },
      100,
      (error) => errors.push(error),
    );
    rounds.start();

    await vi.advanceTimersByTimeAsync(350);

    expect(count).toBe(3);
    expect(errors).toHaveLength(1);
    await rounds.stop();
  });

  it("come at once when hurried, but never two together", async () => {
    let running = 0;
    let most = 0;
    let count = 0;
    const rounds = new Rounds(
      async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 50));
        running -= 1;
        count += 1;
      },
      10_000,
      () => undefined,
    );
    rounds.start();

    rounds.hurry();
    await vi.advanceTimersByTimeAsync(10);
    rounds.hurry();
    rounds.hurry();
    await vi.advanceTimersByTimeAsync(500);

    expect({ most, count }).toEqual({ most: 1, count: 2 });
    await rounds.stop();
  });

  it("do not begin before they are started, nor after they were stopped", async () => {
    let count = 0;
    const rounds = new Rounds(
      async () => {
        count += 1;
      },
      10,
      () => undefined,
    );

    rounds.hurry();
    await vi.advanceTimersByTimeAsync(100);
    rounds.start();
    await rounds.stop();
    rounds.hurry();
    await vi.advanceTimersByTimeAsync(100);

    expect(count).toBe(0);
  });
});
