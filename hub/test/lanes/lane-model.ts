// Lanes beside a plain list that stands for the ledger: what became ready, in order, and what was claimed. Acts come
// in any order that services can bring about: an offer some time after its commit, a page read some time before it is
// filled in, claims that succeed or fail in any order.
import fc from "fast-check";
import { expect } from "vitest";
import type { Ref } from "../../src/domain/lane.js";
import type { Stretch } from "../../src/lanes/lanes.js";
import { refAt } from "../harness/refs.js";
import type { LanesWorld } from "./lanes-world.js";

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
  readonly stretch: Stretch;
  page: { readonly refs: readonly Ref[]; readonly isEnd: boolean } | null;
}

export async function runAgainstLedger(
  world: LanesWorld,
  windowRefsMax: number,
  preloaded: number,
  acts: readonly LaneAct[],
): Promise<void> {
  const { lanes } = world;
  const taken: Ref[][] = [];
  const unoffered: Ref[][] = [];
  const givenBack = new Set<string>();
  let jobs = 0;
  let offeredThrough = 0;
  let look: Look | null = null;

  const commit = (count: number): Ref[] => {
    const refs = Array.from({ length: count }, (_, at) => refAt((jobs + at + 1) * 10));
    jobs += count;
    world.commit(refs);
    return refs;
  };
  const isAway = (ref: Ref) => taken.some((refs) => refs.some(({ jobId }) => jobId === ref.jobId));
  const waiting = () => world.ready.filter((ref) => !world.claimed.has(ref.jobId) && !isAway(ref));

  const steps = {
    commit: (count: number) => void unoffered.push(commit(count)),
    offer: () => {
      const refs = unoffered.shift();
      if (!refs) return;
      lanes.offer(refs);
      offeredThrough = refs.at(-1)?.readyKey ?? offeredThrough;
    },
    "offer again": (which: number) => {
      const ref = world.ready[which];
      if (ref && ref.readyKey <= offeredThrough) lanes.offer([ref]);
    },
    take: (count: number) => {
      const due = waiting();
      lanes.seek(laneId);
      const refs = lanes.take(laneId, count, Number.POSITIVE_INFINITY);
      expect(refs.length).toBeLessThanOrEqual(count);
      expect(refs.filter(isAway)).toEqual([]);
      // First in, first out: refs that still wait come in order; if the ledger orders them, none older is left.
      const real = refs.filter((ref) => due.some((other) => other.jobId === ref.jobId));
      const places = real.map((ref) => due.findIndex((other) => other.jobId === ref.jobId));
      if (world.isOrderedByLedger()) expect(places).toEqual(places.map((_, at) => at));
      else expect(places).toEqual([...new Set(places)].sort((one, other) => one - other));
      if (refs.length > 0) taken.push(refs);
    },
    settle: (which: number) => {
      const [refs] = taken.splice(which % Math.max(1, taken.length), 1);
      if (refs) world.claim(refs);
    },
    "give back": (which: number) => {
      const [refs] = taken.splice(which % Math.max(1, taken.length), 1);
      if (!refs) return;
      for (const ref of refs) givenBack.add(ref.jobId);
      lanes.giveBack(refs);
    },
    "begin look": () => {
      if (look) return;
      const stretch = lanes.wants(laneId) ?? (lanes.head(laneId) ? null : lanes.seek(laneId));
      if (!stretch) return;
      look = { stretch, page: null };
      lanes.beginFill(laneId, stretch);
    },
    "read page": () => {
      if (look && !look.page) look.page = world.page(laneId, look.stretch);
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

  const check = () => expect(lanes.stats(laneId).window).toBeLessThanOrEqual(windowRefsMax + givenBack.size);

  // A hub that starts looks into the ledger before anything is offered.
  commit(preloaded);
  steps["begin look"]();
  for (const one of acts) {
    if ("count" in one) steps[one.act](one.count);
    else if ("which" in one) steps[one.act](one.which);
    else steps[one.act]();
    check();
  }

  for (let round = 0; world.claimed.size < world.ready.length; round += 1) {
    if (round > drainRoundsMax)
      expect.fail(`${world.ready.length - world.claimed.size} ready jobs stay unseen`);
    steps.offer();
    steps["read page"]();
    steps.fill();
    if (lanes.head(laneId) === undefined) await world.calm();
    steps["begin look"]();
    steps.take(4);
    steps.settle(0);
    check();
  }
}
