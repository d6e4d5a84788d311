import { createMemoryLanes } from "../../src/lanes/memory-lanes.js";
import { describeLanes } from "./conformance.js";

describeLanes("memory", {
  create: async (windowRefsMax) => ({
    lanes: createMemoryLanes({ windowRefsMax }),
    isOrderedByLedger: true,
    settled: async () => undefined,
    close: async () => undefined,
  }),
  runs: 250,
  timeoutMs: 30_000,
});
