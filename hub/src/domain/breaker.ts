// A circuit breaker for many hubs (M. Nygard, "Release It!", 2007): when too much of what calls a service fails, nothing
// more is started until it had time to recover and a few probes came through.
//
//   closed ──failure ratio reached──► open ──cool-down over──► half open ──every probe answered──► closed
//                                      ▲                          │
//                                      └──────one probe failed────┘  (a longer cool-down)
//
// Invariants
//  1. While it is open nothing is granted. Whoever opens it turns the epoch of the gates, so that nothing is claimed by
//     what was granted before.
//  2. Each change of phase is a turn. Outcomes count in the turn in which their attempts began and in no other: what was
//     under way when it opened neither closes nor opens it again.
//  3. Half open, at most `probes` starts are out at a time; probes of which nothing is heard for a cool-down are given up,
//     and others take their place.
//  4. For `rampMs` after it closed, starts are paced: `probes` at once, and twice as many in all each second.
import { FailureClass } from "./failure-class.js";
import {
  type Chunks,
  chunkLifeMs,
  type Drawn,
  grantChunk,
  noChunks,
  type RateAsk,
  settleChunks,
} from "./rate-draw.js";

export interface BreakerSettings {
  /** It opens when this share of the window's outcomes or more are failures: above 0, at most 1. */
  readonly failureRatio: number;
  /** Fewer outcomes in the window say nothing. */
  readonly samplesMin: number;
  readonly windowMs: number;
  /** How long it stays open; doubled each time that it opens again before it was closed for the whole ramp. */
  readonly coolDownMs: number;
  readonly coolDownMaxMs: number;
  /** Starts that are let through to see whether the service is back. */
  readonly probes: number;
}

export type BreakerPhase = "closed" | "open" | "half_open";

interface Outcomes {
  readonly answered: number;
  readonly failed: number;
}

/** A change of phase, for people. */
export interface BreakerTurn {
  readonly atMs: number;
  readonly to: BreakerPhase;
  readonly why: string;
}

export interface BreakerState {
  readonly phase: BreakerPhase;
  readonly sinceMs: number;
  /** Open: when it lets probes through. Half open: when probes are given up. Closed: when the ramp is over. */
  readonly untilMs: number;
  /** Rises with every change of phase. */
  readonly turn: number;
  /** Openings in a row. */
  readonly openings: number;
  /** Of the running half of the window. */
  readonly current: Outcomes & { readonly sinceMs: number };
  /** Of the half before. */
  readonly prior: Outcomes;
  /** Starts that were granted: of the probes that are out, or of the ramp. */
  readonly granted: number;
  readonly probesAnswered: number;
  readonly chunks: Chunks;
  /** The newest last; at most `turnsKeptMax`. */
  readonly turns: readonly BreakerTurn[];
}

const nothing: Outcomes = { answered: 0, failed: 0 };
export const rampMs = 10_000;
const rampStepMs = 1_000;
const turnsKeptMax = 10;
const askAgainMs = 500;

/**
 * What an outcome says of the service: it answered, if only with a refusal; or it failed: broken, silent or out of
 * reach. Null: nothing, because the fault may be the worker's or the job's own.
 */
export function serviceOutcome(failureClass: FailureClass): "answered" | "failed" | null {
  switch (failureClass) {
    case FailureClass.ServerError:
    case FailureClass.Timeout:
    case FailureClass.Connection:
      return "failed";
    case FailureClass.RateLimited:
    case FailureClass.ClientError:
    case FailureClass.Denied:
    case FailureClass.NotFound:
    case FailureClass.SchemaMismatch:
    case FailureClass.ParseError:
      return "answered";
    case FailureClass.Exhausted:
    case FailureClass.Deadline:
    case FailureClass.WorkerLost:
    case FailureClass.Other:
      return null;
  }
}

/** Heeds what hubs tell, and grants what the phase allows. */
export function drawThrough(
  settings: BreakerSettings,
  stored: Partial<BreakerState>,
  ask: RateAsk,
  nowMs: number,
): Drawn & { readonly state: BreakerState } {
  const before = known(stored, nowMs);
  const atMs = Math.max(nowMs, before.sinceMs);
  const { chunks, returned } = settleChunks(before.chunks, ask.settled, atMs);
  const settled = { ...before, chunks, granted: Math.max(0, before.granted - returned) };
  const state = heed(settings, passTime(settings, settled, atMs), ask, atMs);
  const isFree = state.phase === "closed" && atMs >= state.untilMs;
  const tokens = isFree ? 0 : Math.max(0, Math.min(ask.wanted, roomOf(settings, state, atMs)));
  return {
    state: {
      ...state,
      granted: state.granted + tokens,
      chunks: grantChunk(state.chunks, tokens, atMs),
    },
    chunk: tokens === 0 ? null : { chunk: state.chunks.last + 1, tokens, lifeMs: chunkLifeMs },
    isFree,
    nextAtMs: nextAtOf(state, atMs, isFree),
    reason: breakerReason(state),
    turn: state.turn,
    turnedTo: state.turn === before.turn ? null : state.phase,
  };
}

/** What counts of the window by now. */
export function outcomesOf({ current, prior }: Partial<BreakerState>): Outcomes {
  return {
    answered: (current?.answered ?? 0) + (prior?.answered ?? 0),
    failed: (current?.failed ?? 0) + (prior?.failed ?? 0),
  };
}

function known(stored: Partial<BreakerState>, nowMs: number): BreakerState {
  return {
    phase: "closed",
    sinceMs: nowMs,
    untilMs: nowMs,
    turn: 0,
    openings: 0,
    current: { ...nothing, sinceMs: nowMs },
    prior: nothing,
    granted: 0,
    probesAnswered: 0,
    chunks: noChunks,
    turns: [],
    ...stored,
  };
}

function turnTo(
  state: BreakerState,
  to: BreakerPhase,
  forMs: number,
  why: string,
  nowMs: number,
): BreakerState {
  return {
    ...state,
    phase: to,
    sinceMs: nowMs,
    untilMs: nowMs + forMs,
    turn: state.turn + 1,
    current: { ...nothing, sinceMs: nowMs },
    prior: nothing,
    granted: 0,
    probesAnswered: 0,
    chunks: { ...state.chunks, open: [] },
    turns: [...state.turns, { atMs: nowMs, to, why }].slice(-turnsKeptMax),
  };
}

function open(settings: BreakerSettings, state: BreakerState, why: string, nowMs: number): BreakerState {
  const isFresh = state.phase === "closed" && nowMs >= state.untilMs;
  const openings = isFresh ? 1 : state.openings + 1;
  const forMs = Math.min(settings.coolDownMs * 2 ** (openings - 1), settings.coolDownMaxMs);
  return { ...turnTo(state, "open", forMs, why, nowMs), openings };
}

function passTime(settings: BreakerSettings, state: BreakerState, nowMs: number): BreakerState {
  if (state.phase === "open")
    return nowMs < state.untilMs
      ? state
      : turnTo(state, "half_open", settings.coolDownMs, "the cool-down is over", nowMs);
  if (state.phase === "half_open")
    return nowMs < state.untilMs
      ? state
      : {
          ...state,
          untilMs: nowMs + settings.coolDownMs,
          granted: state.probesAnswered,
          chunks: { ...state.chunks, open: [] },
        };
  const halfMs = settings.windowMs / 2;
  const halves = Math.floor((nowMs - state.current.sinceMs) / halfMs);
  if (halves === 0) return state;
  const { answered, failed } = state.current;
  return {
    ...state,
    prior: halves === 1 ? { answered, failed } : nothing,
    current: { ...nothing, sinceMs: state.current.sinceMs + halves * halfMs },
  };
}

function heed(
  settings: BreakerSettings,
  state: BreakerState,
  { samples }: RateAsk,
  nowMs: number,
): BreakerState {
  if (samples.turn !== state.turn || samples.answered + samples.failed === 0) return state;
  switch (state.phase) {
    case "open":
      return state;
    case "half_open": {
      if (samples.failed > 0) return open(settings, state, "a probe failed", nowMs);
      const probesAnswered = state.probesAnswered + samples.answered;
      return probesAnswered < settings.probes
        ? { ...state, probesAnswered }
        : turnTo(state, "closed", rampMs, `${settings.probes} probes were answered`, nowMs);
    }
    case "closed": {
      const answered = state.current.answered + samples.answered;
      const failed = state.current.failed + samples.failed;
      const failures = failed + state.prior.failed;
      const all = failures + answered + state.prior.answered;
      if (all >= settings.samplesMin && failures >= settings.failureRatio * all)
        return open(settings, state, `${failures} of ${all} failed`, nowMs);
      return { ...state, current: { ...state.current, answered, failed } };
    }
  }
}

function roomOf(settings: BreakerSettings, state: BreakerState, nowMs: number): number {
  switch (state.phase) {
    case "open":
      return 0;
    case "half_open":
      return settings.probes - state.granted;
    case "closed":
      return Math.floor(settings.probes * 2 ** ((nowMs - state.sinceMs) / rampStepMs)) - state.granted;
  }
}

function nextAtOf(state: BreakerState, nowMs: number, isFree: boolean): number | null {
  if (isFree || state.phase === "closed") return null;
  return state.phase === "open" ? state.untilMs : Math.min(state.untilMs, nowMs + askAgainMs);
}

/** For people: why nothing more starts. */
export function breakerReason({ phase, turns }: BreakerState): string {
  const why = turns.at(-1)?.why ?? "";
  switch (phase) {
    case "open":
      return `the breaker is open: ${why}`;
    case "half_open":
      return "the breaker is half open, and its probes are out";
    case "closed":
      return "the breaker has just closed, and starts are paced";
  }
}
