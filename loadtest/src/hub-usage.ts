import { setTimeout as delay } from "node:timers/promises";
import type { HubSays, HubUsage } from "./programs/hub.js";
import type { Program } from "./start-program.js";

const answerWithinMs = 60_000;

/** What a hub uses, once `waitMs` have passed. */
export async function usageAfter(hub: Program<HubSays>, waitMs: number): Promise<HubUsage> {
  await delay(waitMs);
  return await hub.said("usage", answerWithinMs);
}

/** Of one core, between two readings of the same hub. */
export function shareOf(from: HubUsage, to: HubUsage): number {
  return (to.cpuMs - from.cpuMs) / (to.atMs - from.atMs);
}
