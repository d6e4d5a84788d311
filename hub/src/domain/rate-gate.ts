import { drawThrough } from "./breaker.js";
import { GateType, type Hold, type RateGate, targetText } from "./gate.js";
import { drawStarts } from "./quota.js";
import { type Drawn, noSamples, type RateAsk } from "./rate-draw.js";
import { drawTokens } from "./token-bucket.js";

/** What a hub gets of a rate gate, and the state that the gate is left in: the one rule by which all hubs draw. */
export function drawFrom(
  gate: Pick<RateGate, "type" | "settings" | "state">,
  ask: RateAsk,
  nowMs: number,
): Drawn & { readonly state: RateGate["state"] } {
  const { type, settings, state } = gate as RateGate;
  switch (type) {
    case GateType.Bucket:
      return drawTokens(settings, state, ask, nowMs);
    case GateType.Quota:
      return drawStarts(settings, state, ask, nowMs);
    case GateType.Breaker:
      return drawThrough(settings, state, ask, nowMs);
  }
}

/** Why nobody would get a start of it now; null when somebody would. */
export function rateHoldOf(gate: RateGate, nowMs: number): Hold | null {
  const drawn = drawFrom(gate, { wanted: 1, settled: [], samples: noSamples, random: 0 }, nowMs);
  if (drawn.isFree || drawn.chunk !== null) return null;
  return { gate, reason: `${targetText(gate.target)}: ${drawn.reason}`, untilMs: drawn.nextAtMs };
}
