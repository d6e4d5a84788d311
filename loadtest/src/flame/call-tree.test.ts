import fc from "fast-check";
import { expect, test } from "vitest";
import { type Call, type CpuProfile, callTree, hottest } from "./call-tree.js";

const frame = (functionName: string, url = "file:///somewhere/hub/dist/services/dispatcher.js") => ({
  functionName,
  url,
  lineNumber: 9,
});

const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame("(root)", ""), children: [2, 3, 4, 5] },
    { id: 2, callFrame: frame("(idle)", "") },
    { id: 3, callFrame: frame("wake"), children: [6] },
    { id: 4, callFrame: frame("wake"), children: [7] },
    { id: 5, callFrame: frame("(program)", "") },
    { id: 6, callFrame: frame("claim") },
    { id: 7, callFrame: frame("claim") },
  ],
  samples: [2, 3, 6, 7, 5, 2],
  timeDeltas: [0, 1_000, 10, 20, 30, 40],
};

test("idle time is left out, and calls of one function from one place are one", () => {
  const tree = callTree(profile);
  expect(tree.totalUs).toBe(10 + 20 + 30 + 40);
  expect(tree.callees.map(({ name, totalUs, selfUs }) => [name, totalUs, selfUs])).toEqual([
    ["wake", 60, 10],
    ["(program)", 40, 40],
  ]);
  expect(tree.callees[0]?.callees).toEqual([
    { name: "claim", place: "hub/dist/services/dispatcher.js:10", selfUs: 50, totalUs: 50, callees: [] },
  ]);
});

test("the hottest functions come first, by the time in themselves", () => {
  expect(hottest(callTree(profile), 2).map(({ selfUs }) => selfUs)).toEqual([50, 40]);
});

test("a call takes as long as itself and what it called, whatever the profile", () => {
  const anyProfile = fc.array(fc.nat(1_000), { minLength: 2, maxLength: 60 }).map(
    (deltas): CpuProfile => ({
      nodes: deltas.map((_, at) => ({
        id: at + 1,
        callFrame: frame(`f${at % 5}`),
        children: [2 * at + 2, 2 * at + 3].filter((id) => id <= deltas.length),
      })),
      samples: deltas.map((_, at) => at + 1),
      timeDeltas: deltas,
    }),
  );
  const adds = ({ totalUs, selfUs, callees }: Call): boolean =>
    totalUs === callees.reduce((sum, call) => sum + call.totalUs, selfUs) && callees.every(adds);
  fc.assert(fc.property(anyProfile, (some) => adds(callTree(some))));
});
