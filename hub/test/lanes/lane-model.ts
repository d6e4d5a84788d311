// Lanes beside a plain list that stands for the ledger: what became ready, in order, and what was claimed. Acts come
// in any order that services can bring about: an offer some time after its commit, a page read some time before it is
// filled in, claims that succeed or fail in any order.
import fc from "fast-check";
import { expect } from "vitest";
import type { Ref } from "../../src/domain/lane.js";
import type { Lanes } from "../../src/lanes/lanes.js";
import { refAt } from "../harness/refs.js";

const laneId = 1;
const drainRoundsMax = 1_000;

export type LaneAct =
  | { readonly act: "commit" | "take"; readonly count: number }
  | { readonly act: "settle" | "give back" | "offer again"; readonly which: number }
  | { readonly act: "offer" | "begin look" | "read page" | "fill" | "fail look" };

const act = <Name extends LaneAct["act"]>(name: Name) => fc.constant({ act: name });

export const laneActs: fc.Arbitrary<LaneAct[]> = fc.array(
  fc.oneof(
    fc.record({ act: fc.constant("commit" as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ act: fc.constant("take" as const), count: fc.integer({ min: 1, max: 5 }) }),
    fc.record({
      act: fc.constantFrom("settle" as const, "give back" as const, "offer again" as const),
      which: fc.nat(20),
    }),
    act("offer"),
    act("begin look"),
    act("read page"),
    act("fill"),
    act("fail look"),
  ) as fc.Arbitrary<LaneAct>,
  { maxLength: 60, size: "max" },
);

interface Look {
  readonly afterKey: number;
  page: { readonly refs: readonly Ref[]; readonly isEnd: boolean } | null;
}

export function runAgainstLedger(
  lanes: Lanes,
  windowRefsMax: number,
  preloaded: number,
  acts: readonly LaneAct[],
): void {
  const pageRefsMax = windowRefsMax / 2;
  /** Every job that became ready, in order; a claimed one is in `claimed` too. */
  const ready: Ref[] = [];
  const claimed = new Set<Ref>();
  const taken: Ref[][] = [];
  const unoffered: Ref[][] = [];
  const givenBack = new Set<string>();
  let offeredThrough = 0;
  let savedLowKey = 0;
  let look: Look | null = null;

  const commit = (count: number): Ref[] => {
    const refs = Array.from({ length: count }, (_, at) => refAt((ready.length + at + 1) * 10));
    ready.push(...refs);
    return refs;
  };
  const waiting = () => {
    const away = new Set(taken.flat().map((ref) => ref.jobId));
    return ready.filter((ref) => !claimed.has(ref) && !away.has(ref.jobId));
  };
  const original = (ref: Ref) => ready.find((other) => other.jobId === ref.jobId) as Ref;

  const steps = {
    commit: (count: number) => void unoffered.push(commit(count)),
    offer: () => {
      const refs = unoffered.shift();
      if (!refs) return;
      lanes.offer(refs);
      offeredThrough = refs.at(-1)?.readyKey ?? offeredThrough;
    },
    "offer again": (which: number) => {
      const ref = ready[which];
      if (ref && ref.readyKey <= offeredThrough) lanes.offer([ref]);
    },
    take: (count: number) => {
      const due = waiting();
      const refs = lanes.take(laneId, count, Number.POSITIVE_INFINITY);
      expect(refs.length).toBeLessThanOrEqual(count);
      // First in, first out: nothing that was offered and waits is older than what was taken.
      const real = refs.filter((ref) => due.some((other) => other.jobId === ref.jobId));
      const places = real.map((ref) => due.findIndex((other) => other.jobId === ref.jobId));
      expect(places).toEqual(places.map((_, at) => at));
      if (refs.length > 0) taken.push(refs);
    },
    settle: (which: number) => {
      const [refs] = taken.splice(which % Math.max(1, taken.length), 1);
      if (!refs) return;
      for (const ref of refs) claimed.add(original(ref));
      lanes.settle(refs);
    },
    "give back": (which: number) => {
      const [refs] = taken.splice(which % Math.max(1, taken.length), 1);
      if (!refs) return;
      for (const ref of refs) givenBack.add(ref.jobId);
      lanes.giveBack(refs);
    },
    "begin look": () => {
      if (look) return;
      const wanted = lanes.wants(laneId);
      if (!wanted && lanes.head(laneId)) return;
      look = { afterKey: wanted?.afterKey ?? savedLowKey, page: null };
      lanes.beginFill(laneId);
    },
    "read page": () => {
      const open = look;
      if (!open || open.page) return;
      const all = ready.filter((ref) => !claimed.has(ref) && ref.readyKey > open.afterKey);
      open.page = { refs: all.slice(0, pageRefsMax), isEnd: all.length < pageRefsMax };
    },
    fill: () => {
      if (!look?.page) return;
      lanes.fill(laneId, look.page.refs, look.page.isEnd);
      look = null;
    },
    "fail look": () => {
      if (!look) return;
      lanes.fillFailed(laneId);
      look = null;
    },
  };

  const check = () => {
    const low = lanes.lowKey(laneId);
    for (const ref of ready) if (!claimed.has(ref)) expect(low).toBeLessThan(ref.readyKey);
    savedLowKey = Math.max(savedLowKey, low);
    expect(lanes.stats(laneId).window).toBeLessThanOrEqual(windowRefsMax + givenBack.size);
  };

  // A hub that starts looks into the ledger before anything is offered.
  commit(preloaded);
  steps["begin look"]();
  for (const one of acts) {
    if ("count" in one) steps[one.act](one.count);
    else if ("which" in one) steps[one.act](one.which);
    else steps[one.act]();
    check();
  }

  for (let round = 0; claimed.size < ready.length; round += 1) {
    if (round > drainRoundsMax) expect.fail(`${ready.length - claimed.size} ready jobs stay unseen`);
    steps.offer();
    steps["read page"]();
    steps.fill();
    steps["begin look"]();
    steps.take(4);
    steps.settle(0);
    check();
  }
}
