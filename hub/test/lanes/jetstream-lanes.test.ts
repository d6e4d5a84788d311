import { setTimeout as delay } from "node:timers/promises";
import type { JetstreamLanesSettings } from "../../src/lanes/jetstream-lanes.js";
import { useNats } from "../harness/nats.js";
import { openSharedLanes } from "../harness/shared-lanes.js";
import { describeLanes } from "./conformance.js";

const nats = useNats();
const laneId = 1;
let made = 0;

const small: Partial<JetstreamLanesSettings> = {
  windowRefsLow: 1,
  refsPerMessageMax: 3,
  pullBytesMax: 512,
  handBackAfterMs: 60_000,
  dryAfterMs: 30,
  youngMs: 0,
};

describeLanes("JetStream", {
  create: async (windowRefsMax) => {
    made += 1;
    const prefix = `conformance-${made}`;
    // The first one makes the stream, and what it has lost before it was made is looked up.
    await (await openSharedLanes(nats.url(), { prefix })).close();
    const { lanes, close } = await openSharedLanes(nats.url(), { ...small, prefix, windowRefsMax });
    return {
      lanes,
      isOrderedByLedger: false,
      // What was asked for and brought nothing for a while has nothing.
      settled: async () => {
        while (lanes.head(laneId) === undefined && !lanes.wants(laneId) && !lanes.seek(laneId))
          await delay(2);
      },
      close,
    };
  },
  runs: 15,
  timeoutMs: 120_000,
});
