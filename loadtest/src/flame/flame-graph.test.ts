import { expect, test } from "vitest";
import type { Call } from "./call-tree.js";
import { flameGraph } from "./flame-graph.js";

const leaf = (name: string, totalUs: number): Call => ({
  name,
  place: "",
  selfUs: totalUs,
  totalUs,
  callees: [],
});
const root = (callees: Call[]): Call => ({
  name: "all",
  place: "",
  selfUs: 0,
  totalUs: callees.reduce((sum, { totalUs }) => sum + totalUs, 0),
  callees,
});

test("bars are as wide as their share of the time, beside each other below their caller", () => {
  const svg = flameGraph("hub", root([leaf("claim", 3_000), leaf("report", 1_000)]));
  const bars = [...svg.matchAll(/<title>(\w+) .*?<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)"/g)];
  expect(bars.map(([, name, left, , wide]) => [name, Number(left), Number(wide)])).toEqual([
    ["all", 0, 1_600],
    ["claim", 0, 1_200],
    ["report", 1_200, 400],
  ]);
  expect(bars[1]?.[3]).toBe(bars[2]?.[3]);
});

test("names that mean something in XML do not break the drawing", () => {
  const svg = flameGraph("<hub> & worker", root([leaf('get "a<b>"', 1)]));
  expect(svg).not.toMatch(/<(hub|b)>/);
  expect(svg).toContain("&lt;hub&gt; &amp; worker");
});

test("a profile without a sample is drawn, empty", () => {
  expect(flameGraph("idle", root([]))).toContain("</svg>");
});
