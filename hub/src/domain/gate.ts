// Gates: what keeps a job that is ready from starting. A gate has a type, a target, the settings that an operator made
// and the state that work makes of it; whether it is open is a pure function of these and of the time.
import type { BlackoutSettings } from "./blackout.js";
import { blackoutAt } from "./blackout.js";
import type { BreakerSettings, BreakerState } from "./breaker.js";
import type { LaneKey } from "./lane.js";
import { type MeterLimits, noLimits } from "./meter.js";
import type { QuotaSettings, QuotaState } from "./quota.js";
import type { BucketSettings, BucketState } from "./token-bucket.js";

/** Stored in the ledger: the numbers never change. */
export const GateType = {
  Pause: 1,
  Budget: 2,
  Blackout: 3,
  Breaker: 4,
  Bucket: 5,
  Cap: 6,
  Quota: 7,
  Seats: 8,
} as const;
export type GateType = (typeof GateType)[keyof typeof GateType];

/** In which order gates are asked: the first that is shut is the one that a job waits at. Money goes first. */
export const gateOrder: readonly GateType[] = [
  GateType.Budget,
  GateType.Pause,
  GateType.Blackout,
  GateType.Breaker,
  GateType.Bucket,
  GateType.Cap,
  GateType.Quota,
  GateType.Seats,
];

const typeNames: Readonly<Record<GateType, string>> = {
  [GateType.Pause]: "pause",
  [GateType.Budget]: "budget",
  [GateType.Blackout]: "blackout",
  [GateType.Breaker]: "breaker",
  [GateType.Bucket]: "bucket",
  [GateType.Cap]: "cap",
  [GateType.Quota]: "quota",
  [GateType.Seats]: "seats",
};

/** As it is shown and typed. */
export function gateTypeName(type: GateType): string {
  return typeNames[type];
}

/** What a gate holds back. */
export type GateTarget =
  | { readonly type: "tenant" }
  | { readonly type: "product"; readonly product: string }
  | { readonly type: "queue"; readonly product: string; readonly queue: string }
  | { readonly type: "source"; readonly source: string }
  /** Jobs that declare this key; it stands before no lane, the claim finds it. */
  | { readonly type: "key"; readonly key: string };

interface GateOf<Type extends GateType, Settings> {
  readonly gateId: number;
  readonly tenantId: number;
  readonly type: Type;
  readonly target: GateTarget;
  readonly settings: Settings;
  /** Since when the settings stand, milliseconds since 1970. */
  readonly sinceMs: number;
}

/** What settings of every type have. */
export interface Noted {
  /** Why it was set, for people; empty when nobody said. */
  readonly note: string;
}

/** A gate whose starts hubs draw from the ledger, with its state as it was read; empty before the first draw. */
interface RateGateOf<Type extends GateType, Settings, State> extends GateOf<Type, Noted & Settings> {
  readonly state: Partial<State>;
}

/** Gates that bound how fast work starts. They hold lanes and park nothing. */
export type RateGate =
  | RateGateOf<typeof GateType.Breaker, BreakerSettings, BreakerState>
  | RateGateOf<typeof GateType.Bucket, BucketSettings, BucketState>
  | RateGateOf<typeof GateType.Quota, QuotaSettings, QuotaState>;
/** How much may be in flight at once. Null: as much as there is. */
export type CapSettings = MeterLimits;

/** How much the work of a product may spend in a window of time. Null: as much as it wants. */
export interface BudgetSettings {
  /** In millionths of a US dollar. */
  readonly costMax: number | null;
  readonly tokensMax: number | null;
  readonly window: "day" | "month";
  /** IANA name of the zone whose midnights turn the window. */
  readonly timeZone: string;
  /** Operators are told when so many percent of a ceiling are taken, 1 to 100. */
  readonly alertPercent: number;
  /** An operator stopped it. */
  readonly isPaused: boolean;
}

/** How many jobs of a product may be in flight at once, and whether critical ones may take the place of others. */
export interface SeatsSettings {
  readonly seatsMax: number;
  readonly isPreemptive: boolean;
  /** How long a preempted worker may still save its work. */
  readonly graceMs: number;
}

/** A gate by its type. */
export type Gate =
  | GateOf<typeof GateType.Pause, Noted>
  | GateOf<typeof GateType.Blackout, Noted & BlackoutSettings>
  | RateGate
  | GateOf<typeof GateType.Budget, Noted & BudgetSettings>
  | GateOf<typeof GateType.Cap, Noted & CapSettings>
  | GateOf<typeof GateType.Seats, Noted & SeatsSettings>;

/** What an operator sets. */
export type GateSettings = { [G in Gate as G["type"]]: Pick<G, "type" | "settings"> }[Gate["type"]];

/** Why nothing of a lane may start now. */
export interface Hold {
  readonly gate: Gate;
  /** For people. */
  readonly reason: string;
  /** When it opens by itself; null when somebody or something has to open it. */
  readonly untilMs: number | null;
}

/** One text per target, as it is stored, shown and typed. Names cannot hold the separators. */
export function targetText(target: GateTarget): string {
  switch (target.type) {
    case "tenant":
      return "tenant";
    case "product":
      return `product:${target.product}`;
    case "queue":
      return `queue:${target.product}/${target.queue}`;
    case "source":
      return `source:${target.source}`;
    case "key":
      return `key:${target.key}`;
  }
}

const targetForm = /^(?:(tenant)|product:([^/:]+)|queue:([^/:]+)\/([^/:]+)|source:(.+)|key:(.+))$/;

/** @throws TypeError when the text names no target */
export function parseTarget(text: string): GateTarget {
  const [, tenant, product, ofProduct, queue, source, key] = targetForm.exec(text) ?? [];
  if (tenant !== undefined) return { type: "tenant" };
  if (product !== undefined) return { type: "product", product };
  if (ofProduct !== undefined && queue !== undefined) return { type: "queue", product: ofProduct, queue };
  if (source !== undefined) return { type: "source", source };
  if (key !== undefined) return { type: "key", key };
  throw new TypeError(`Not a target of a gate: ${text}`);
}

/** Whether a gate stands in the way of a lane, open or shut. */
export function standsBefore(gate: Pick<Gate, "tenantId" | "target">, lane: LaneKey): boolean {
  if (gate.tenantId !== lane.tenantId) return false;
  const { target } = gate;
  switch (target.type) {
    case "tenant":
      return true;
    case "product":
      return target.product === lane.product;
    case "queue":
      return target.product === lane.product && target.queue === lane.queue;
    case "source":
      return target.source === lane.source;
    case "key":
      return false;
  }
}

/** The gates before a lane in the order in which they are asked. */
export function gatesBefore(gates: readonly Gate[], lane: LaneKey): Gate[] {
  return gates
    .filter((gate) => standsBefore(gate, lane))
    .sort((a, b) => gateOrder.indexOf(a.type) - gateOrder.indexOf(b.type) || a.gateId - b.gateId);
}

export function isRateGate(gate: Gate): gate is RateGate {
  return gate.type === GateType.Breaker || gate.type === GateType.Bucket || gate.type === GateType.Quota;
}

/** Whether a gate is shut for whole lanes, by its settings and the time alone. */
export function holdOf(gate: Gate, nowMs: number): Hold | null {
  switch (gate.type) {
    case GateType.Pause:
      return {
        gate,
        reason: `${targetText(gate.target)} is paused${gate.settings.note === "" ? "" : `: ${gate.settings.note}`}`,
        untilMs: null,
      };
    case GateType.Blackout: {
      const untilMs = blackoutAt(gate.settings, nowMs);
      return untilMs === null
        ? null
        : { gate, reason: `${targetText(gate.target)} is in a blackout window`, untilMs };
    }
    case GateType.Breaker:
    case GateType.Bucket:
    case GateType.Quota:
      return null;
    case GateType.Budget: {
      const { isPaused, note } = gate.settings;
      if (!isPaused) return null;
      const why = note === "" ? "" : `: ${note}`;
      return { gate, reason: `the budget of ${targetText(gate.target)} is paused${why}`, untilMs: null };
    }
    case GateType.Cap:
    case GateType.Seats:
      return null;
  }
}

/** Whether how much is taken decides: then the ledger judges it inside the claim. */
export function isMetered(gate: Pick<Gate, "type">): boolean {
  return gate.type === GateType.Budget || gate.type === GateType.Cap || gate.type === GateType.Seats;
}

/** Whether critical jobs may take the place of others there. */
export function isPreemptive(gate: Gate | undefined): boolean {
  return gate?.type === GateType.Seats && gate.settings.isPreemptive;
}

/** What a metered gate's settings bound. */
export function limitsOf({ type, settings }: Pick<Gate, "type" | "settings">): MeterLimits {
  switch (type) {
    case GateType.Budget: {
      const { costMax, tokensMax } = settings as BudgetSettings;
      return { jobsMax: null, costMax, tokensMax };
    }
    case GateType.Cap:
      return settings as CapSettings;
    case GateType.Seats:
      return { ...noLimits, jobsMax: (settings as SeatsSettings).seatsMax };
    default:
      return noLimits;
  }
}
