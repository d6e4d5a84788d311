// Rate limits between the protocol and the domain: buckets, quotas and breakers.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Breaker,
  BreakerPhase,
  type Bucket,
  type LimitSchema,
  type LimitSettingsSchema,
  type Quota,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { type BreakerSettings, type BreakerState, outcomesOf } from "../domain/breaker.js";
import { GateType, type RateGate } from "../domain/gate.js";
import { hourMs, type QuotaSettings } from "../domain/quota.js";
import { type BucketSettings, bucketView, defaultRecoveryMs, leastCapacity } from "../domain/token-bucket.js";
import { checkDuration, checkInteger, invalid } from "./check.js";
import { optionalTime } from "./job-messages.js";

const dayMs = 24 * hourMs;

export function toBreaker(message: Breaker): BreakerSettings {
  const field = (name: string) => `settings.breaker.${name}`;
  const coolDownMs = checkSpan(field("cool_down"), message.coolDown, 1_000, hourMs, 30_000);
  return {
    failureRatio: checkAmount(field("failure_ratio"), message.failureRatio || 0.5, Number.MIN_VALUE, 1),
    samplesMin: checkInteger(field("min_samples"), message.minSamples || 20, 1, 1_000_000),
    windowMs: checkSpan(field("window"), message.window, 1_000, hourMs, 30_000),
    coolDownMs,
    coolDownMaxMs: checkSpan(
      field("max_cool_down"),
      message.maxCoolDown,
      coolDownMs,
      dayMs,
      Math.min(16 * coolDownMs, dayMs),
    ),
    probes: checkInteger(field("probes"), message.probes || 3, 1, 1_000),
  };
}

export function toBucket(message: Bucket): BucketSettings {
  const field = (name: string) => `settings.bucket.${name}`;
  const ratePerSecond = checkAmount(field("rate_per_second"), message.ratePerSecond, 0.001, 1_000_000);
  const least = leastCapacity(ratePerSecond);
  const { adaptive, capacity } = message;
  return {
    ratePerSecond,
    capacity:
      capacity === 0n
        ? Math.max(1, Math.ceil(ratePerSecond))
        : checkInteger(field("capacity"), capacity, least, 10_000_000),
    adaptive: adaptive
      ? {
          floorPerSecond: checkAmount(
            field("adaptive.floor_per_second"),
            adaptive.floorPerSecond || ratePerSecond / 100,
            Number.MIN_VALUE,
            ratePerSecond,
          ),
          recoveryMs: checkSpan(
            field("adaptive.recovery"),
            adaptive.recovery,
            1_000,
            hourMs,
            defaultRecoveryMs,
          ),
        }
      : null,
  };
}

export function toQuota(message: Quota): QuotaSettings {
  return {
    startsMax: checkInteger("settings.quota.max_starts", message.maxStarts, 1, 1_000_000_000),
    windowMs: checkSpan("settings.quota.window", message.window, 1_000, 7 * dayMs, hourMs),
  };
}

type Settings = NonNullable<MessageInitShape<typeof LimitSettingsSchema>["settings"]>;

export function toRateSettings(gate: RateGate): Settings {
  switch (gate.type) {
    case GateType.Breaker: {
      const { failureRatio, samplesMin, windowMs, coolDownMs, coolDownMaxMs, probes } = gate.settings;
      return {
        case: "breaker",
        value: {
          failureRatio,
          minSamples: samplesMin,
          window: durationFromMs(windowMs),
          coolDown: durationFromMs(coolDownMs),
          maxCoolDown: durationFromMs(coolDownMaxMs),
          probes,
        },
      };
    }
    case GateType.Bucket: {
      const { ratePerSecond, capacity, adaptive } = gate.settings;
      const value = { ratePerSecond, capacity: BigInt(capacity) };
      if (adaptive === null) return { case: "bucket", value };
      const { floorPerSecond, recoveryMs } = adaptive;
      return {
        case: "bucket",
        value: { ...value, adaptive: { floorPerSecond, recovery: durationFromMs(recoveryMs) } },
      };
    }
    case GateType.Quota: {
      const { startsMax, windowMs } = gate.settings;
      return {
        case: "quota",
        value: { maxStarts: BigInt(startsMax), window: durationFromMs(windowMs) },
      };
    }
  }
}

const phases = {
  closed: BreakerPhase.CLOSED,
  open: BreakerPhase.OPEN,
  half_open: BreakerPhase.HALF_OPEN,
} as const;

type RateState = Pick<MessageInitShape<typeof LimitSchema>, "breaker" | "bucket" | "quota">;

/** What work has made of it, as the ledger had it when it was read. */
export function toRateState(gate: RateGate, nowMs: number): RateState {
  switch (gate.type) {
    case GateType.Breaker: {
      const { phase = "closed", sinceMs = gate.sinceMs, turns = [] } = gate.state;
      const { answered, failed } = outcomesOf(gate.state as BreakerState);
      return {
        breaker: {
          phase: phases[phase],
          ...optionalTime("since", sinceMs),
          answered: BigInt(answered),
          failed: BigInt(failed),
          turns: turns.map(({ atMs, to, why }) => ({ ...optionalTime("at", atMs), to: phases[to], why })),
        },
      };
    }
    case GateType.Bucket: {
      const { ratePerSecond, level, drawn, slowedAtMs, waitsUntilMs } = bucketView(
        gate.settings,
        gate.state,
        nowMs,
      );
      return {
        bucket: {
          ratePerSecond,
          level,
          drawn: BigInt(drawn),
          ...optionalTime("slowedAt", slowedAtMs),
          ...optionalTime("waitsUntil", waitsUntilMs),
        },
      };
    }
    case GateType.Quota: {
      const { windowMs } = gate.settings;
      const startMs = Math.floor(nowMs / windowMs) * windowMs;
      const used = gate.state.windowStartMs === startMs ? (gate.state.used ?? 0) : 0;
      return { quota: { used: BigInt(used), ...optionalTime("windowEnds", startMs + windowMs) } };
    }
  }
}

function checkAmount(field: string, amount: number, min: number, max: number): number {
  if (!(amount >= min && amount <= max))
    throw invalid(
      field,
      min === Number.MIN_VALUE ? `must be above 0, at most ${max}` : `must be from ${min} to ${max}`,
    );
  return amount;
}

function checkSpan(
  field: string,
  duration: Parameters<typeof checkDuration>[1],
  minMs: number,
  maxMs: number,
  fallback: number,
): number {
  const ms = checkDuration(field, duration, maxMs, fallback);
  if (ms < minMs) throw invalid(field, `must be from ${minMs / 1_000} to ${maxMs / 1_000} s`);
  return ms;
}
