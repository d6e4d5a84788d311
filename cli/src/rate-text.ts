// Rate limits as people read them: buckets, quotas and breakers.
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  BreakerPhase,
  type BreakerState,
  type Limit,
  type LimitSettings,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { time } from "./job-text.js";
import type { Paint } from "./paint.js";
import { formatTable } from "./table.js";

const PHASE_WORDS: Readonly<Record<BreakerPhase, string>> = {
  [BreakerPhase.UNSPECIFIED]: "?",
  [BreakerPhase.CLOSED]: "closed",
  [BreakerPhase.OPEN]: "open",
  [BreakerPhase.HALF_OPEN]: "half open",
};

type RateSettings = Extract<LimitSettings["settings"], { case: "breaker" | "bucket" | "quota" }>;

export function rateSettingsText(settings: RateSettings): string {
  switch (settings.case) {
    case "breaker": {
      const { failureRatio, minSamples, window, coolDown, maxCoolDown, probes } = settings.value;
      const opens = `${amount(100 * failureRatio)} % of ${minSamples} or more in ${span(window)}`;
      return `${opens}, open ${span(coolDown)} to ${span(maxCoolDown)}, ${probes} probes`;
    }
    case "bucket": {
      const { ratePerSecond, capacity, adaptive } = settings.value;
      const rate = `${amount(ratePerSecond)}/s, ${capacity} at once`;
      if (adaptive === undefined) return rate;
      return `${rate}, adaptive from ${amount(adaptive.floorPerSecond)}/s in ${span(adaptive.recovery)}`;
    }
    case "quota":
      return `${settings.value.maxStarts} per ${span(settings.value.window)}`;
  }
}

/** What a rate limit is at; undefined of others. */
export function rateStateText({ breaker, bucket, quota }: Limit, nowMs: number): string | undefined {
  if (breaker) {
    const since = time(breaker.since, nowMs);
    const seen = `${breaker.answered} answered, ${breaker.failed} failed`;
    return `${PHASE_WORDS[breaker.phase]} since ${since}; ${seen}`;
  }
  if (bucket) {
    const slowed = bucket.slowedAt ? `, slowed down at ${time(bucket.slowedAt, nowMs)}` : "";
    const waits = bucket.waitsUntil ? `, waits until ${time(bucket.waitsUntil, nowMs)}` : "";
    const level = `${amount(bucket.level)} left, ${bucket.drawn} drawn`;
    return `${amount(bucket.ratePerSecond)}/s, ${level}${slowed}${waits}`;
  }
  if (quota) return `${quota.used} used, until ${time(quota.windowEnds, nowMs)}`;
  return undefined;
}

/** The newest turns of a breaker, the newest first. */
export function turnsText({ turns }: BreakerState, nowMs: number, paint: Paint): string {
  return formatTable(
    ["TURNED", "TO", "WHY"],
    [...turns].reverse().map(({ at, to, why }) => [time(at, nowMs) ?? "-", PHASE_WORDS[to], why]),
    paint,
  );
}

function amount(value: number): string {
  return String(Number(value.toPrecision(4)));
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
] as const;

/** As it is typed: 30s, 10m, 1h. */
function span(duration: Duration | undefined): string {
  const seconds = Number(duration?.seconds ?? 0n);
  const unit = UNITS.find(([, size]) => seconds >= size && seconds % size === 0);
  return unit ? `${seconds / unit[1]}${unit[0]}` : `${seconds}s`;
}
