import { describe, expect, it } from "vitest";
import { laneOf } from "../../test/harness/refs.js";
import { canServe, laneKeyText, profileText, type WorkerProfile } from "./lane.js";

function profile(
  overrides: Partial<Record<"kinds" | "capabilities" | "products" | "queues", string[]>> = {},
) {
  return {
    tenantId: 1,
    kinds: new Set(overrides.kinds ?? ["greet"]),
    capabilities: new Set(overrides.capabilities),
    products: new Set(overrides.products),
    queues: new Set(overrides.queues),
    weights: {},
  } satisfies WorkerProfile;
}

describe("a worker", () => {
  it.each([
    ["of the same tenant with a handler for the kind", profile(), {}, true],
    ["of another tenant", { ...profile(), tenantId: 2 }, {}, false],
    ["without a handler for the kind", profile({ kinds: ["part"] }), {}, false],
    ["without any handler", profile({ kinds: [] }), {}, false],
    ["that names the product", profile({ products: ["default", "press"] }), {}, true],
    ["that names other products", profile({ products: ["press"] }), {}, false],
    ["that names the queue", profile({ queues: ["default"] }), {}, true],
    ["that names other queues", profile({ queues: ["night"] }), {}, false],
    [
      "with more capabilities than asked for",
      profile({ capabilities: ["gpu", "arm"] }),
      { capabilities: ["gpu"] },
      true,
    ],
    [
      "with all capabilities asked for",
      profile({ capabilities: ["gpu", "arm"] }),
      { capabilities: ["arm", "gpu"] },
      true,
    ],
    [
      "with some of the capabilities asked for",
      profile({ capabilities: ["gpu"] }),
      { capabilities: ["arm", "gpu"] },
      false,
    ],
    ["without the capabilities asked for", profile(), { capabilities: ["gpu"] }, false],
    ["with capabilities that nobody asked for", profile({ capabilities: ["gpu"] }), {}, true],
    ["at any priority", profile(), { priority: 4 as const }, true],
    ["for retries", profile(), { isRetry: true }, true],
  ] as const)("%s", (_, worker, lane, may) => {
    expect(canServe(worker, laneOf(1, lane))).toBe(may);
  });

  it("competes with those whose profile is the same in whatever order it was written", () => {
    const one = profile({ kinds: ["a", "b"], capabilities: ["x", "y"], queues: ["q"] });
    const same = profile({ kinds: ["b", "a"], capabilities: ["y", "x"], queues: ["q"] });

    expect(profileText(one)).toBe(profileText(same));
  });

  it.each([
    ["tenant", { ...profile(), tenantId: 2 }],
    ["kinds", profile({ kinds: ["greet", "part"] })],
    ["capabilities", profile({ capabilities: ["default"] })],
    ["products", profile({ products: ["default"] })],
    ["queues", profile({ queues: ["default"] })],
    ["weights of the score", { ...profile(), weights: { age: 2 } }],
  ])("does not compete with those of other %s", (_, worker) => {
    expect(profileText(worker)).not.toBe(profileText(profile()));
  });
});

describe("the key of a lane", () => {
  it.each([
    ["tenant", { tenantId: 2 }],
    ["product", { product: "press" }],
    ["queue", { queue: "night" }],
    ["kind", { kind: "part" }],
    ["priority", { priority: 3 as const }],
    ["capabilities", { capabilities: ["gpu"] }],
    ["source", { source: "api.example/v2" }],
    ["fairness key", { fairnessKey: "customer:42" }],
  ])("is another with another %s", (_, overrides) => {
    expect(laneKeyText(laneOf(1, overrides))).not.toBe(laneKeyText(laneOf(1)));
  });

  it("tells a source from a fairness key of the same text", () => {
    const texts = [{ source: "a/b" }, { fairnessKey: "a/b" }, { source: "a", fairnessKey: "b" }].map(
      (overrides) => laneKeyText(laneOf(1, overrides)),
    );

    expect(new Set(texts).size).toBe(3);
  });

  it("is that of its retry twin", () => {
    expect(laneKeyText(laneOf(2, { isRetry: true }))).toBe(laneKeyText(laneOf(1)));
  });
});
