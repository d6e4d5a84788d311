import { expect, test } from "vitest";
import { keepBusy, type LifeSystem } from "./keep-busy.js";
import type { LifeEnd, LifeParams } from "./life-program.js";

const params: LifeParams = {
  payloadBytes: 200,
  openMax: 2_000,
  preloaded: 0,
  warmUpSeconds: 0,
  seconds: 1,
  isDrained: true,
};

/** Commits what is open, so many jobs a millisecond. */
function fakeSystem(perMs: number) {
  let submitted = 0;
  let committed = 0;
  let openMost = 0;
  const working = setInterval(() => {
    committed = Math.min(submitted, committed + perMs);
  }, 1);
  const system: LifeSystem = {
    submit: async (count) => {
      submitted += count;
      openMost = Math.max(openMost, submitted - committed);
    },
    committed: () => committed,
    failed: new Promise(() => undefined),
  };
  return { system, openMost: () => openMost, stop: () => clearInterval(working) };
}

test("never more jobs are open than asked for, and in the end all of them are committed", async () => {
  const { system, openMost, stop } = fakeSystem(100);
  const told: [string, unknown][] = [];
  await keepBusy(
    system,
    params,
    (kind: string, what: unknown) => void told.push([kind, what]),
    new AbortController().signal,
  ).finally(stop);
  expect(told.map(([kind]) => kind)).toEqual(["warm", "lived", "ended"]);
  const ended = told[2]?.[1] as LifeEnd;
  expect(ended.committed).toBe(ended.submitted);
  expect(ended.perSecond).toHaveLength(1);
  expect(openMost()).toBeLessThanOrEqual(params.openMax);
});

test("a worker that closes while it is measured is a failure, not a slow result", async () => {
  const { system, stop } = fakeSystem(100);
  const closed = { ...system, failed: Promise.resolve() };
  const end = new AbortController();
  const life = keepBusy(closed, params, () => undefined, end.signal);
  await expect(life).rejects.toThrow("closed while it was measured");
  end.abort();
  stop();
});
