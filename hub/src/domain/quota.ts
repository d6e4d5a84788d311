// A quota: so many starts in a window of time, over all hubs. Windows stand fixed on the clock: those of an hour begin
// with the hour (UTC). A chunk that a hub drew ends with its window, so nothing of one window starts in the next.
import {
  type Chunks,
  chunkLifeMs,
  type Drawn,
  grantChunk,
  noChunks,
  type RateAsk,
  settleChunks,
} from "./rate-draw.js";

export interface QuotaSettings {
  readonly startsMax: number;
  /** Length of the window; default an hour. */
  readonly windowMs: number;
}

export interface QuotaState {
  readonly windowStartMs: number;
  /** Starts of the window, with tokens that hubs may still use. */
  readonly used: number;
  readonly chunks: Chunks;
}

export const hourMs = 3_600_000;

/** Draws up to `wanted` starts of the current window. Time that runs backward begins no window again. */
export function drawStarts(
  { startsMax, windowMs }: QuotaSettings,
  stored: Partial<QuotaState>,
  ask: RateAsk,
  nowMs: number,
): Drawn & { readonly state: QuotaState } {
  const { windowStartMs: knownMs = 0, used: usedBefore = 0, chunks: before = noChunks } = stored;
  const windowStartMs = Math.max(Math.floor(nowMs / windowMs) * windowMs, knownMs);
  const isNew = windowStartMs > knownMs;
  const { chunks, returned } = settleChunks(isNew ? { ...before, open: [] } : before, ask.settled, nowMs);
  const used = isNew ? 0 : Math.max(0, usedBefore - returned);
  const endMs = windowStartMs + windowMs;
  const tokens = Math.max(0, Math.min(ask.wanted, startsMax - used));
  return {
    state: { windowStartMs, used: used + tokens, chunks: grantChunk(chunks, tokens, nowMs) },
    chunk:
      tokens === 0
        ? null
        : { chunk: chunks.last + 1, tokens, lifeMs: Math.min(chunkLifeMs, Math.max(0, endMs - nowMs)) },
    isFree: false,
    nextAtMs: used + tokens < startsMax ? null : endMs,
    reason: `${startsMax} starts ${windowMs === hourMs ? "an hour" : `in ${windowMs / 1_000} s`} are used up`,
    turn: 0,
    turnedTo: null,
  };
}
