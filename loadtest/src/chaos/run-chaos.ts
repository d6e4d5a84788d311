// One run of chaos: as many shares of jobs as there are faults, and one more. Each fault strikes in the midst of its
// share; the next share comes in when it is mended, so that there is work whatever goes wrong.
import { setTimeout as delay } from "node:timers/promises";
import { nowMs } from "../wall-clock.js";
import type { Fault, Pick } from "./faults.js";
import { Feeder } from "./feeder.js";
import { Meter } from "./meter.js";
import { seededRandom } from "./random.js";
import { readVerdictLogs } from "./verdict-log.js";
import { type Check, verify } from "./verify.js";
import { unseenEvents, verifyEvents, type Wipe } from "./verify-events.js";
import type { World } from "./world.js";

export interface ChaosPlan {
  readonly seed: number;
  readonly jobs: number;
  readonly faults: readonly Fault[];
}

export interface Struck {
  readonly fault: string;
  readonly what: string;
  /** From the blow to the repair. */
  readonly tookMs: number;
  /** The longest time without a result from the blow to the end of its share. */
  readonly pauseMs: number;
}

export interface ChaosReport {
  readonly seed: number;
  readonly jobs: number;
  readonly elapsedMs: number;
  readonly struck: readonly Struck[];
  readonly submitsRepeated: number;
  readonly verdicts: { readonly committed: number; readonly duplicate: number; readonly stale: number };
  readonly handlersStarted: number;
  readonly checks: readonly Check[];
}

const lookEveryMs = 50;
/** Nothing that goes wrong may cost more time than this before work goes on. */
const stuckAfterMs = 90_000;

export async function runChaos(
  world: World,
  plan: ChaosPlan,
  log: (line: string) => void,
): Promise<ChaosReport> {
  const random = seededRandom(plan.seed);
  const pick: Pick = (items) => {
    const item = items[Math.floor(random() * items.length)];
    if (item === undefined) throw new RangeError("There is nothing to pick from.");
    return item;
  };
  const meter = new Meter(world);
  const addresses = world.hubs.map(({ address }) => address);
  const feeder = new Feeder(addresses, () => meter.settled);
  const share = Math.floor(plan.jobs / (plan.faults.length + 1));
  const beganAtMs = nowMs();
  const struck: Struck[] = [];
  const wipes: Wipe[] = [];
  try {
    const feeding = feeder.run(plan.jobs);
    for (const [at, fault] of plan.faults.entries()) {
      // What has been read cannot be wiped: so all but this share is held against the ledger, whatever NATS loses.
      if (fault.wipesNats && world.follower) await unseenEvents(world.postgres.url, world.follower, wipes);
      const fromMs = nowMs();
      feeder.allow((at + 1) * share);
      await untilSettled(meter, at * share + share / 4);
      log(`${fault.name} …`);
      const atMs = nowMs();
      const what = await fault.strike(world, pick);
      const tookMs = nowMs() - atMs;
      if (fault.wipesNats) wipes.push({ fromMs, toMs: nowMs() });
      await untilSettled(meter, (at + 1) * share);
      const pauseMs = meter.longestPauseMs(atMs, nowMs());
      struck.push({ fault: fault.name, what, tookMs, pauseMs });
      log(`${fault.name}: ${what}; longest pause ${(pauseMs / 1_000).toFixed(1)} s`);
    }
    feeder.allow(plan.jobs);
    await untilSettled(meter, plan.jobs);
    await feeding;
  } catch (error) {
    // What stands still is the finding: the ledger says what it is.
    log(String(error));
  } finally {
    feeder.close();
    meter.stop();
  }
  const elapsedMs = nowMs() - beganAtMs;
  log("verifying …");
  const verdicts = await readVerdictLogs(await world.stopWorkers());
  const { committed, duplicate, stale, started } = verdicts.counts;
  return {
    seed: plan.seed,
    jobs: feeder.jobIds.length,
    elapsedMs,
    struck,
    submitsRepeated: feeder.failedCalls,
    verdicts: { committed, duplicate, stale },
    handlersStarted: started,
    checks: [
      askedFor(plan.jobs, feeder.jobIds.length),
      ...(await verify(world.postgres.url, feeder.jobIds, verdicts)),
      ...(world.follower ? await verifyEvents(world.postgres.url, world.follower, wipes) : []),
    ],
  };
}

/** @throws when nothing has been settled for too long */
async function untilSettled(meter: Meter, jobs: number): Promise<void> {
  let last = -1;
  let movedAtMs = nowMs();
  while (meter.settled < jobs) {
    if (meter.settled > last) {
      last = meter.settled;
      movedAtMs = nowMs();
    }
    if (nowMs() - movedAtMs > stuckAfterMs)
      throw new Error(`nothing was done for ${stuckAfterMs / 1_000} s, at ${last} of ${jobs} jobs`);
    await delay(lookEveryMs);
  }
}

function askedFor(asked: number, accepted: number): Check {
  const broken = asked === accepted ? [] : [`${accepted} of ${asked} jobs were accepted`];
  return { clause: "D1", promise: "every submit was accepted in the end", broken };
}
