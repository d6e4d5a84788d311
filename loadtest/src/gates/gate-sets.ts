import type { GateSetterParams, GateSetterSays } from "../programs/gate-setter.js";
import type { Stage } from "../stage.js";

export type GateSet = GateSetterParams["gates"];

const setWithinMs = 60_000;
/** In hub/src/domain/gate.ts. */
const budgetType = 2;
const blackoutType = 3;
const breakerType = 4;
const bucketType = 5;
const capType = 6;
const quotaType = 7;
const seatsType = 8;

export const benchSource = { type: "source", source: "bench-service" } as const;
const tenant = { type: "tenant" } as const;
const product = { type: "product", product: "default" } as const;
const queue = { type: "queue", product: "default", queue: "default" } as const;

export function bucket(
  ratePerSecond: number,
  capacity: number,
  adaptive: { readonly floorPerSecond: number; readonly recoveryMs: number } | null,
): GateSet[number] {
  return {
    target: benchSource,
    settings: { type: bucketType, settings: { note: "", ratePerSecond, capacity, adaptive } },
  };
}

/** One of each kind that stands before every job, and none that ever shuts. */
export function openGates(nowMs: number): GateSet {
  const later = new Date(nowMs + 12 * 3_600_000);
  const minute = later.getUTCHours() * 60;
  const windows = [{ days: [((later.getUTCDay() + 2) % 7) + 1], fromMinute: minute, toMinute: minute + 1 }];
  const breaker = { failureRatio: 0.5, samplesMin: 20, windowMs: 30_000, coolDownMs: 30_000 };
  return [
    { target: product, settings: { type: blackoutType, settings: { note: "", timeZone: "UTC", windows } } },
    {
      target: benchSource,
      settings: { type: breakerType, settings: { note: "", ...breaker, coolDownMaxMs: 480_000, probes: 3 } },
    },
    bucket(1_000_000, 1_000_000, { floorPerSecond: 1_000, recoveryMs: 30_000 }),
    {
      target: queue,
      settings: { type: quotaType, settings: { note: "", startsMax: 1_000_000_000, windowMs: 3_600_000 } },
    },
    {
      target: tenant,
      settings: { type: quotaType, settings: { note: "", startsMax: 1_000_000_000, windowMs: 3_600_000 } },
    },
  ];
}

const plenty = 1_000_000_000;

/** Those whose levels the ledger judges in each claim, and none that ever shuts. */
export function openMeters(): GateSet {
  const cap = { note: "", jobsMax: 1_000_000, costMax: null, tokensMax: null };
  const budget = {
    costMax: plenty,
    tokensMax: plenty,
    window: "month",
    timeZone: "UTC",
    alertPercent: 80,
  } as const;
  return [
    { target: tenant, settings: { type: capType, settings: cap } },
    { target: queue, settings: { type: capType, settings: cap } },
    { target: product, settings: { type: budgetType, settings: { note: "", ...budget, isPaused: false } } },
    {
      target: product,
      settings: {
        type: seatsType,
        settings: { note: "", seatsMax: 1_000_000, isPreemptive: false, graceMs: 0 },
      },
    },
  ];
}

export async function setGates(
  stage: Stage,
  databaseUrl: string,
  gates: GateSet,
  label: string,
): Promise<void> {
  const setter = stage.start<GateSetterParams, GateSetterSays>("gate-setter", { databaseUrl, gates }, label);
  try {
    await setter.said("set", setWithinMs);
  } finally {
    await setter.stop();
  }
}
