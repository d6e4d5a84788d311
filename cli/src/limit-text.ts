import { type JsonObject, toJson } from "@bufbuild/protobuf";
import {
  BudgetWindow,
  type Limit,
  LimitSchema,
  type LimitSettings,
  LimitType,
  type LimitUse,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { windowText } from "./arguments/blackout-window.js";
import { limitTargetText } from "./arguments/limit-target.js";
import { JSON_OPTIONS } from "./job-json.js";
import { relative, time } from "./job-text.js";
import { priorityWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { rateSettingsText, rateStateText, turnsText } from "./rate-text.js";
import { boundsText, spendText } from "./spend-text.js";
import { formatFields, formatTable } from "./table.js";

export const LIMIT_TYPE_WORDS = {
  pause: LimitType.PAUSE,
  budget: LimitType.BUDGET,
  blackout: LimitType.BLACKOUT,
  breaker: LimitType.BREAKER,
  bucket: LimitType.BUCKET,
  quota: LimitType.QUOTA,
  cap: LimitType.CAP,
  seats: LimitType.SEATS,
} as const;

export const LIMIT_HEADINGS = ["LIMIT", "TARGET", "SETTINGS", "STATE", "UNTIL", "PARKED", "SINCE"] as const;

export function limitRow(limit: Limit, nowMs: number, paint: Paint): string[] {
  return [
    limit.settings?.settings.case ?? "?",
    limitTargetText(limit.target),
    settingsText(limit.settings),
    limit.shut ? paint.bad("shut") : paint.good("open"),
    time(limit.until, nowMs) ?? "-",
    parkedText(limit),
    relative(limit.since, nowMs),
  ];
}

/** One limit, and what waits at it. */
export function limitText(limit: Limit, nowMs: number, paint: Paint): string {
  const fields = formatFields(
    [
      ["limit", paint.strong(limit.settings?.settings.case ?? "?")],
      ["target", limitTargetText(limit.target)],
      ["settings", settingsText(limit.settings)],
      ["note", limit.note || undefined],
      ["since", time(limit.since, nowMs)],
      ["state", limit.shut ? `${paint.bad("shut")}: ${limit.reason}` : paint.good("open")],
      ["until", time(limit.until, nowMs)],
      ["now", rateStateText(limit, nowMs)],
      ...useFields(limit.use, nowMs),
      ["parked", parkedText(limit)],
      ["first parked", time(limit.parkedSince, nowMs)],
    ],
    paint,
  );
  const parts = [fields];
  if (limit.breaker && limit.breaker.turns.length > 0) parts.push(turnsText(limit.breaker, nowMs, paint));
  if (limit.waiting.length === 0) return parts.join("\n\n");
  const lanes = formatTable(
    ["WAITING IN", "KIND", "PRIORITY", "JOBS", "SINCE"],
    limit.waiting.map((lane) => [
      `${lane.product}/${lane.queue}`,
      lane.kind,
      priorityWord(lane.priority),
      `${lane.window}${lane.hasRest ? "+" : ""}`,
      relative(lane.headSince, nowMs),
    ]),
    paint,
  );
  return [...parts, lanes].join("\n\n");
}

export function limitJson(limit: Limit): JsonObject {
  return toJson(LimitSchema, limit, JSON_OPTIONS) as JsonObject;
}

function parkedText({ parkedJobs, parkedAtLeast }: Limit): string {
  return `${parkedJobs}${parkedAtLeast ? "+" : ""}`;
}

function useFields(use: LimitUse | undefined, nowMs: number): [string, string | undefined][] {
  if (use === undefined) return [];
  return [
    ["in flight", String(use.jobs)],
    ["held", spendText(use.held)],
    ["spent", spendText(use.spent)],
    ["window", use.windowEndsAt && `turns ${time(use.windowEndsAt, nowMs)}`],
  ];
}

function settingsText(message: LimitSettings | undefined): string {
  const settings = message?.settings;
  switch (settings?.case) {
    case "blackout":
      return `${settings.value.windows.map(windowText).join("; ")} ${settings.value.timeZone}`;
    case "breaker":
    case "bucket":
    case "quota":
      return rateSettingsText(settings);
    case "cap": {
      const { jobsMax, costMicroUsdMax, tokensMax } = settings.value;
      return boundsText(jobsMax, costMicroUsdMax, tokensMax);
    }
    case "budget": {
      const { costMicroUsdMax, tokensMax, window, timeZone, alertPercent, paused } = settings.value;
      const span = window === BudgetWindow.DAY ? "day" : "month";
      const state = paused ? ", paused" : "";
      return `${boundsText(0, costMicroUsdMax, tokensMax)} a ${span} ${timeZone}, alert at ${alertPercent}%${state}`;
    }
    case "seats": {
      const { max, preemption } = settings.value;
      return `${max} seats${preemption ? ", preemptive" : ""}`;
    }
    default:
      return "-";
  }
}
