// A token bucket for many hubs: the classic one (J. Turner, "New directions in communications", IEEE Communications
// Magazine 24(10), 1986), from which hubs draw chunks.
//
// Invariants
//  1. Level and tokens that hubs may still use are together never above the capacity. So the starts of any span of time
//     are at most capacity + rate × span, over all hubs, as if each start had taken its token from the bucket itself.
//  2. Time that runs backward refills nothing.
//
// An adaptive bucket halves its rate when the service asks to slow down, at most once per `halvingWindowMs`: what was
// under way at the old rate is refused as well, and says nothing new. It then refills nothing until the time that the
// service named, and recovers along the curve of CUBIC (RFC 9438, section 4.2), fast at first, slowly around the rate
// that was too much, and then carefully beyond it.
import {
  type Chunks,
  chunkLifeMs,
  type Drawn,
  type EndedChunk,
  grantChunk,
  noChunks,
  noSamples,
  type RateAsk,
  settleChunks,
  tokensOut,
} from "./rate-draw.js";

export interface BucketSettings {
  /** Starts per second in the long run. */
  readonly ratePerSecond: number;
  /** Starts at once after a rest: at least what flows in half a second, see `leastCapacity`. */
  readonly capacity: number;
  /** Null: the rate stays what it is, whatever the service says. */
  readonly adaptive: {
    /** The rate never falls below. */
    readonly floorPerSecond: number;
    /** From half the rate back to nearly the rate that was too much. */
    readonly recoveryMs: number;
  } | null;
}

/** A rate that was lowered. */
export interface Slowdown {
  /** Where it came from: a little less than the rate that was too much. */
  readonly towards: number;
  /** Where it began. */
  readonly from: number;
  /** When it was lowered last. */
  readonly sinceMs: number;
  /** Nothing is refilled before. */
  readonly waitUntilMs: number;
}

export interface BucketState {
  readonly level: number;
  readonly atMs: number;
  readonly slowdown: Slowdown | null;
  readonly chunks: Chunks;
}

export const defaultRecoveryMs = 10_000;
/** Halvings are at least this far apart. */
export const halvingWindowMs = 1_000;
/** How much of the rate that was too much it recovers to before it becomes careful. */
const carefulShare = 0.95;
/** So many times slower it goes beyond that than up to there. */
const carefulness = 6;
/** Waits are drawn out by up to this share, so that hubs and other callers of the service do not return at once. */
const waitJitter = 0.1;
const waitMsMax = 3_600_000;

/** Hubs draw a few times a second: a smaller bucket would overflow between two draws. */
export function leastCapacity(ratePerSecond: number): number {
  return Math.max(1, Math.ceil(ratePerSecond / 2));
}

/** Draws up to `wanted` tokens; `stored` is null or empty before the first draw. */
export function drawTokens(
  settings: BucketSettings,
  stored: Partial<BucketState>,
  ask: RateAsk,
  nowMs: number,
): Drawn & { readonly state: BucketState } {
  const { level, atMs, slowdown, chunks, isUntouched } = fill(settings, stored, ask, nowMs);
  const isWaiting = slowdown !== null && atMs < slowdown.waitUntilMs;
  const tokens = Math.min(Math.floor(level), ask.wanted);
  const rate = rateAt(settings, slowdown, atMs);
  const left = level - tokens;
  const refillAtMs = (isWaiting ? slowdown.waitUntilMs : atMs) + Math.ceil(((1 - left) / rate) * 1_000);
  const drawn = { level: left, atMs, slowdown, chunks: grantChunk(chunks, tokens, atMs) };
  return {
    // What flows in while a chunk is out is known once it is settled: until then the row says from when it counts.
    state: tokens === 0 && isUntouched ? (stored as BucketState) : drawn,
    chunk: tokens === 0 ? null : { chunk: chunks.last + 1, tokens, lifeMs: chunkLifeMs },
    isFree: false,
    nextAtMs: left >= 1 ? null : refillAtMs,
    reason: reasonOf(settings, slowdown, rate, isWaiting),
    turn: 0,
    turnedTo: null,
  };
}

/** What a bucket is at, for people. */
export function bucketView(settings: BucketSettings, stored: Partial<BucketState>, nowMs: number) {
  const { level, slowdown, chunks } = fill(
    settings,
    stored,
    { wanted: 0, settled: [], samples: noSamples, random: 0 },
    nowMs,
  );
  return {
    ratePerSecond: rateAt(settings, slowdown, nowMs),
    level,
    drawn: tokensOut(chunks),
    slowedAtMs: slowdown?.sinceMs ?? null,
    waitsUntilMs: slowdown && nowMs < slowdown.waitUntilMs ? slowdown.waitUntilMs : null,
  };
}

/** A bucket as it is by now, with all that a hub tells; untouched when that was nothing. */
function fill(settings: BucketSettings, stored: Partial<BucketState>, ask: RateAsk, nowMs: number) {
  const before = known(settings, stored, nowMs);
  const atMs = Math.max(nowMs, before.atMs);
  const { chunks, returned, ended } = settleChunks(before.chunks, ask.settled, atMs);
  const refilled = refill(settings, before, ended, atMs) + returned;
  const slowdown = heed(settings, recovered(settings, before.slowdown, atMs), ask, atMs);
  const isWaiting = slowdown !== null && atMs < slowdown.waitUntilMs;
  const room = Math.max(0, capacityAt(settings, slowdown, atMs) - tokensOut(chunks));
  const isUntouched = stored.atMs !== undefined && ended.length === 0 && ask.samples.throttled === 0;
  return { level: isWaiting ? 0 : Math.min(refilled, room), atMs, slowdown, chunks, isUntouched };
}

/** Starts per second that a bucket allows at a moment. */
export function rateAt(
  { ratePerSecond, adaptive }: BucketSettings,
  slowdown: Slowdown | null,
  atMs: number,
): number {
  if (slowdown === null || adaptive === null) return ratePerSecond;
  const { towards, from, waitUntilMs } = slowdown;
  const way = Math.max(0, atMs - waitUntilMs) / adaptive.recoveryMs - 1;
  const eased = way > 0 ? way / carefulness : way;
  return Math.min(ratePerSecond, towards + (towards - from) * eased ** 3);
}

function known(settings: BucketSettings, stored: Partial<BucketState>, nowMs: number): BucketState {
  const { level = settings.capacity, atMs = nowMs, slowdown = null, chunks = noChunks } = stored;
  return { level, atMs, slowdown: settings.adaptive ? slowdown : null, chunks };
}

/**
 * What the bucket holds after it filled up since it was looked at: at any moment of that time only as far as what hubs
 * could still use left room.
 */
function refill(
  settings: BucketSettings,
  { level, atMs, slowdown, chunks }: BucketState,
  ended: readonly EndedChunk[],
  nowMs: number,
): number {
  const rate = rateAt(settings, slowdown, Math.max(atMs, slowdown?.waitUntilMs ?? atMs));
  const capacity = capacityAt(settings, slowdown, atMs);
  let fromMs = Math.max(atMs, slowdown?.waitUntilMs ?? atMs);
  let out = tokensOut(chunks);
  let filled = level;
  for (const { tokens, endedAtMs } of [...ended, { tokens: 0, endedAtMs: nowMs }]) {
    const toMs = Math.min(Math.max(endedAtMs, fromMs), Math.max(nowMs, fromMs));
    filled = Math.min(filled + (rate * (toMs - fromMs)) / 1_000, Math.max(0, capacity - out));
    out -= tokens;
    fromMs = toMs;
  }
  return filled;
}

/** A slower bucket holds less in proportion: what gathers in a rest is not too much for the service either. */
function capacityAt(settings: BucketSettings, slowdown: Slowdown | null, atMs: number): number {
  const share = rateAt(settings, slowdown, atMs) / settings.ratePerSecond;
  return Math.max(1, settings.capacity * share);
}

function recovered(settings: BucketSettings, slowdown: Slowdown | null, nowMs: number): Slowdown | null {
  return slowdown && rateAt(settings, slowdown, nowMs) >= settings.ratePerSecond ? null : slowdown;
}

function heed(
  settings: BucketSettings,
  slowdown: Slowdown | null,
  { samples, random }: RateAsk,
  nowMs: number,
): Slowdown | null {
  if (settings.adaptive === null || samples.throttled === 0) return slowdown;
  const waitMs = Math.min(samples.waitMs, waitMsMax) * (1 + waitJitter * random);
  const waitUntilMs = Math.max(nowMs + waitMs, slowdown?.waitUntilMs ?? 0);
  if (slowdown && nowMs < Math.max(slowdown.sinceMs + halvingWindowMs, slowdown.waitUntilMs))
    return { ...slowdown, waitUntilMs };
  const tooMuch = rateAt(settings, slowdown, nowMs);
  const { floorPerSecond } = settings.adaptive;
  const from = Math.max(Math.min(floorPerSecond, tooMuch), tooMuch / 2);
  return { towards: Math.max(from, tooMuch * carefulShare), from, sinceMs: nowMs, waitUntilMs };
}

function reasonOf(
  { ratePerSecond, capacity }: BucketSettings,
  slowdown: Slowdown | null,
  rate: number,
  isWaiting: boolean,
): string {
  if (isWaiting) return "the service asked to wait";
  if (slowdown) return `slowed down to ${shown(rate)} of ${shown(ratePerSecond)} starts a second`;
  return `${shown(ratePerSecond)} starts a second, ${shown(capacity)} at once, are used up`;
}

function shown(rate: number): string {
  return String(Number(rate.toPrecision(3)));
}
