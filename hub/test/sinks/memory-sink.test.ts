import { MemorySink } from "../../src/sinks/memory-sink.js";
import { describeSink } from "./conformance.js";

describeSink("memory", async () => {
  const sink = new MemorySink();
  return {
    sink,
    ids: async () =>
      sink.published.map((one) => (one.type === "job" ? one.event.eventId : one.pages.eventId)),
    goAway: async () => sink.setAway(true),
    comeBack: async () => sink.setAway(false),
    end: () => sink.close(),
  };
});
