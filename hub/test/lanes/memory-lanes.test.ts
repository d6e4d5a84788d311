import { createMemoryLanes } from "../../src/lanes/memory-lanes.js";
import { describeLanes } from "./conformance.js";

describeLanes("memory", (windowRefsMax) => createMemoryLanes({ windowRefsMax }));
