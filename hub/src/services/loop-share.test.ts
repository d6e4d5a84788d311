import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { LoopShare } from "./loop-share.js";

/** Work of `stepMs` a step, and how long it rested after each. */
async function restsOf(
  steps: number,
  stepMs: number,
  pause: (ms: number) => Promise<void>,
): Promise<number[]> {
  const share = new LoopShare(0.7, 0.2);
  const rests: number[] = [];
  for (let step = 0; step < steps; step += 1) {
    burn(stepMs);
    await share.rest(stepMs, async (ms) => {
      rests.push(ms);
      await pause(ms);
    });
  }
  return rests;
}

function burn(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe("work that nobody waits for", () => {
  it("takes nearly all of the time while others have nothing to do, however busy it is itself", async () => {
    const rests = await restsOf(10, 20, (ms) => delay(ms));

    expect(Math.max(...rests)).toBe(2);
  });

  it("takes its share while others want the thread", async () => {
    const rests = await restsOf(10, 5, async (ms) => burn(ms));

    expect(rests.at(0)).toBe(1);
    expect(rests.at(-1)).toBe(20);
  });
});
