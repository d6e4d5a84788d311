// Limits between the protocol and the domain: one place per type of limit where its settings are checked, and shown.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Blackout,
  type Budget,
  type Cap,
  type LimitSchema,
  type LimitSettings,
  type LimitSettingsSchema,
  type LimitTarget,
  type LimitTargetSchema,
  LimitType,
  type LimitUseSchema,
  type Seats,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { type BlackoutSettings, isTimeZone } from "../domain/blackout.js";
import {
  type BudgetSettings,
  type CapSettings,
  type Gate,
  type GateSettings,
  type GateTarget,
  GateType,
  isRateGate,
  type SeatsSettings,
} from "../domain/gate.js";
import type { ReadLevel } from "../domain/meter.js";
import { type LimitView, parkedCountMax } from "../services/limits.js";
import {
  checkCount,
  checkDuration,
  checkEnum,
  checkInteger,
  checkKey,
  checkName,
  checkSource,
  checkText,
  invalid,
} from "./check.js";
import { amountMax, optionalTime, toSpendMessage } from "./job-messages.js";
import type { JustificationNeed } from "./operation-service.js";
import { toBreaker, toBucket, toQuota, toRateSettings, toRateState } from "./rate-messages.js";

/** @throws Fault INVALID_FIELD */
export function toTarget(message: LimitTarget | undefined): GateTarget {
  switch (message?.target.case) {
    case "tenant":
      return { type: "tenant" };
    case "product":
      return { type: "product", product: checkName("target.product", message.target.value) };
    case "queue":
      return {
        type: "queue",
        product: checkName("target.queue.product", message.target.value.product),
        queue: checkName("target.queue.queue", message.target.value.queue),
      };
    case "key":
      return { type: "key", key: checkKey("target.key", message.target.value) };
    case "source":
      if (message.target.value === "") throw invalid("target.source", "must not be empty");
      return { type: "source", source: checkSource("target.source", message.target.value) };
    case undefined:
      throw invalid("target", "is required: tenant, product, queue, source or key");
  }
}

export function toTargetMessage(target: GateTarget): MessageInitShape<typeof LimitTargetSchema> {
  switch (target.type) {
    case "tenant":
      return { target: { case: "tenant", value: {} } };
    case "product":
      return { target: { case: "product", value: target.product } };
    case "queue":
      return { target: { case: "queue", value: { product: target.product, queue: target.queue } } };
    case "source":
      return { target: { case: "source", value: target.source } };
    case "key":
      return { target: { case: "key", value: target.key } };
  }
}

const typesByLimit: Readonly<Record<Exclude<LimitType, LimitType.UNSPECIFIED>, GateType>> = {
  [LimitType.PAUSE]: GateType.Pause,
  [LimitType.BUDGET]: GateType.Budget,
  [LimitType.BLACKOUT]: GateType.Blackout,
  [LimitType.BREAKER]: GateType.Breaker,
  [LimitType.BUCKET]: GateType.Bucket,
  [LimitType.QUOTA]: GateType.Quota,
  [LimitType.CAP]: GateType.Cap,
  [LimitType.SEATS]: GateType.Seats,
};

/** null: any; only where that is a choice. */
export function toGateType(type: LimitType, isOptional: boolean): GateType | null {
  if (type === LimitType.UNSPECIFIED && isOptional) return null;
  const found = typesByLimit[type as keyof typeof typesByLimit];
  if (found === undefined) throw invalid("type", `has the unknown value ${type}`);
  return found;
}

/** How much an operator has to say to change a limit. */
export function needOf(type: GateType): JustificationNeed {
  return type === GateType.Quota ? "audited" : "optional";
}

/**
 * A limit of some types stands before some targets only.
 *
 * @throws Fault INVALID_FIELD
 */
export function checkTargetFor(target: GateTarget, wanted: GateSettings): void {
  const { type, settings } = wanted;
  if (target.type === "key") return checkCapOfKey(wanted);
  if ((type === GateType.Budget || type === GateType.Seats) && target.type !== "product")
    throw invalid("target", "must be a product");
  if (target.type === "source") return;
  // What fails or asks to slow down is one service.
  if (type === GateType.Breaker) throw invalid("target", "must be a source: a breaker watches one service");
  if (type === GateType.Bucket && settings.adaptive)
    throw invalid("settings.bucket.adaptive", "needs a source as target: one service asks to slow down");
}

function checkCapOfKey({ type, settings }: GateSettings): void {
  if (type !== GateType.Cap) throw invalid("target", "may be a key for a cap only");
  if (settings.costMax !== null || settings.tokensMax !== null)
    throw invalid("settings.cap", "must set nothing but jobs_max before a key");
}

/**
 * @param note why it is set, for people
 * @throws Fault INVALID_FIELD
 */
export function toSettings(message: LimitSettings | undefined, note: string): GateSettings {
  const settings = message?.settings;
  switch (settings?.case) {
    case "pause":
      return { type: GateType.Pause, settings: { note } };
    case "blackout":
      return { type: GateType.Blackout, settings: { note, ...toBlackout(settings.value) } };
    case "breaker":
      return { type: GateType.Breaker, settings: { note, ...toBreaker(settings.value) } };
    case "bucket":
      return { type: GateType.Bucket, settings: { note, ...toBucket(settings.value) } };
    case "quota":
      return { type: GateType.Quota, settings: { note, ...toQuota(settings.value) } };
    case "budget":
      return {
        type: GateType.Budget,
        settings: { note, ...toBudget(settings.value, "settings.budget"), isPaused: settings.value.paused },
      };
    case "cap":
      return { type: GateType.Cap, settings: { note, ...toCap(settings.value) } };
    case "seats":
      return { type: GateType.Seats, settings: { note, ...toSeats(settings.value) } };
    case undefined:
      throw invalid("settings", "is required: exactly one kind of limit");
  }
}

function toBlackout({ timeZone, windows }: Blackout): BlackoutSettings {
  const zone = checkText("settings.blackout.time_zone", timeZone || "UTC", 64, 1);
  if (!isTimeZone(zone))
    throw invalid("settings.blackout.time_zone", "must be an IANA name, like Europe/Berlin");
  checkCount("settings.blackout.windows", windows.length, 1, 50);
  return {
    timeZone: zone,
    windows: windows.map(({ days, fromMinute, toMinute }, at) => {
      const path = `settings.blackout.windows[${at}]`;
      checkCount(`${path}.days`, days.length, 0, 7);
      for (const day of days) checkInteger(`${path}.days`, day, 1, 7);
      if (new Set(days).size < days.length) throw invalid(`${path}.days`, "must name each day once");
      return {
        days: days.length === 0 ? [1, 2, 3, 4, 5, 6, 7] : [...days],
        fromMinute: checkInteger(`${path}.from_minute`, fromMinute, 0, 1439),
        toMinute: checkInteger(`${path}.to_minute`, toMinute, 0, 1439),
      };
    }),
  };
}

/** 0 means that there is no bound. */
function checkBound(field: string, bound: number | bigint, max: number): number | null {
  const number = checkInteger(field, bound, 0, max);
  return number === 0 ? null : number;
}

function toCap(message: Cap): CapSettings {
  const limits = {
    jobsMax: checkBound("settings.cap.jobs_max", message.jobsMax, leasesMax),
    costMax: checkBound("settings.cap.cost_micro_usd_max", message.costMicroUsdMax, amountMax),
    tokensMax: checkBound("settings.cap.tokens_max", message.tokensMax, amountMax),
  };
  if (limits.jobsMax === null && limits.costMax === null && limits.tokensMax === null)
    throw invalid("settings.cap", "must set at least one of jobs_max, cost_micro_usd_max and tokens_max");
  return limits;
}

function toSeats({ max, preemption, grace }: Seats): SeatsSettings {
  return {
    seatsMax: checkInteger("settings.seats.max", max, 1, leasesMax),
    isPreemptive: preemption,
    graceMs: checkDuration("settings.seats.grace", grace, 3_600_000, 0),
  };
}

export function toBudget(message: Budget, path: string): Omit<BudgetSettings, "isPaused"> {
  const { timeZone, alertPercent } = message;
  const costMax = checkBound(`${path}.cost_micro_usd_max`, message.costMicroUsdMax, amountMax);
  const tokensMax = checkBound(`${path}.tokens_max`, message.tokensMax, amountMax);
  if (costMax === null && tokensMax === null)
    throw invalid(path, "must set at least one of cost_micro_usd_max and tokens_max");
  const window = checkEnum(`${path}.window`, message.window as number, budgetWindows, budgetWindows.month);
  const zone = checkText(`${path}.time_zone`, timeZone || "UTC", 64, 1);
  if (!isTimeZone(zone)) throw invalid(`${path}.time_zone`, "must be an IANA name, like Europe/Berlin");
  return {
    costMax,
    tokensMax,
    window: window === budgetWindows.day ? "day" : "month",
    timeZone: zone,
    alertPercent: alertPercent === 0 ? 80 : checkInteger(`${path}.alert_percent`, alertPercent, 1, 100),
  };
}

const leasesMax = 1_000_000;
const budgetWindows = { day: 1, month: 2 } as const;

function toSettingsMessage(gate: Gate): MessageInitShape<typeof LimitSettingsSchema> {
  switch (gate.type) {
    case GateType.Pause:
      return { settings: { case: "pause", value: {} } };
    case GateType.Blackout: {
      const { timeZone, windows } = gate.settings;
      const value = { timeZone, windows: windows.map((window) => ({ ...window, days: [...window.days] })) };
      return { settings: { case: "blackout", value } };
    }
    case GateType.Breaker:
    case GateType.Bucket:
    case GateType.Quota:
      return { settings: toRateSettings(gate) };
    case GateType.Budget: {
      const { costMax, tokensMax, window, timeZone, alertPercent, isPaused } = gate.settings;
      const value = {
        costMicroUsdMax: BigInt(costMax ?? 0),
        tokensMax: BigInt(tokensMax ?? 0),
        window: budgetWindows[window] as number,
        timeZone,
        alertPercent,
        paused: isPaused,
      };
      return { settings: { case: "budget", value } };
    }
    case GateType.Cap: {
      const { jobsMax, costMax, tokensMax } = gate.settings;
      const value = {
        jobsMax: jobsMax ?? 0,
        costMicroUsdMax: BigInt(costMax ?? 0),
        tokensMax: BigInt(tokensMax ?? 0),
      };
      return { settings: { case: "cap", value } };
    }
    case GateType.Seats: {
      const { seatsMax, isPreemptive, graceMs } = gate.settings;
      const value = { max: seatsMax, preemption: isPreemptive, grace: durationFromMs(graceMs) };
      return { settings: { case: "seats", value } };
    }
  }
}

function toUseMessage(level: ReadLevel): MessageInitShape<typeof LimitUseSchema> {
  const held = { costMicroUsd: level.cost - level.spentCost, tokens: level.tokens - level.spentTokens };
  const spent = { costMicroUsd: level.spentCost, tokens: level.spentTokens };
  return {
    jobs: level.jobs,
    held: toSpendMessage(held),
    ...(level.windowBeganAtMs !== null && { spent: toSpendMessage(spent) }),
    ...optionalTime("windowBeganAt", level.windowBeganAtMs),
    ...optionalTime("windowEndsAt", level.windowBeganAtMs === null ? null : level.turnsAtMs),
  };
}

export function toLimitMessage(view: LimitView): MessageInitShape<typeof LimitSchema> {
  const { gate, hold } = view;
  return {
    target: toTargetMessage(gate.target),
    settings: toSettingsMessage(gate),
    note: gate.settings.note,
    ...optionalTime("since", gate.sinceMs),
    shut: hold !== null,
    reason: hold?.reason ?? "",
    ...optionalTime("until", hold?.untilMs ?? null),
    ...(isRateGate(gate) ? toRateState(gate, Date.now()) : {}),
    parkedJobs: Math.min(view.parkedJobs, parkedCountMax),
    parkedAtLeast: view.parkedJobs > parkedCountMax,
    ...optionalTime("parkedSince", view.parkedSinceMs),
    ...(view.level && { use: toUseMessage(view.level) }),
    waiting: view.waiting.map(({ lane, stats, headReadyAtMs }) => ({
      product: lane.product,
      queue: lane.queue,
      kind: lane.kind,
      priority: lane.priority as number,
      source: lane.source,
      window: stats.window,
      hasRest: stats.hasRest,
      ...optionalTime("headSince", headReadyAtMs),
    })),
  };
}
