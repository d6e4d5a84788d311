import { createMemoryExchange } from "../../src/bus/memory-bus.js";
import { describeBus } from "./conformance.js";

const exchange = createMemoryExchange();

describeBus("memory", async (observer) => {
  const bus = exchange.join(observer);
  return { bus, cut: async () => bus.cut(), mend: async () => bus.mend() };
});
