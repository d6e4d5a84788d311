// What one hub holds of one rate gate: chunks of starts that it drew, and what it has yet to tell the gate.
//
// Times are milliseconds of this machine's monotonic clock, given by the caller.
//
// Invariants
//  1. A chunk is used until `lifeMs` after the hub asked for it, and never after: by the ledger's clock that is sooner
//     than the ledger counts on.
//  2. Each chunk is settled once, after its end or when it is used up; what is left of it goes back.
//  3. Draws are at least `drawSpacingMs` apart: no row is written more often than a few times a second by one hub.
import type { BreakerState } from "../domain/breaker.js";
import { breakerReason } from "../domain/breaker.js";
import { GateType, type Hold, type RateGate, targetText } from "../domain/gate.js";
import { chunkLifeMs, noSamples, type RateAsk, type Samples } from "../domain/rate-draw.js";
import type { TimedDraw } from "../ledger/draw-rates.js";
import { HeldChunks } from "./held-chunks.js";

/** What is on its way to the ledger. */
export interface SentAsk {
  readonly ask: RateAsk;
  readonly askedAtMs: number;
}

/** Spacing of draws is between this and a quarter more: hubs that began together drift apart. */
export const drawSpacingMs = 200;
/** Of a breaker that is closed, answers are told this often; failures at once. */
const answersTellMs = 1_000;
/** Starts that are asked for at least: what is too many comes back. */
const wantedMin = 512;
/** A hub may need so many times what it used since the last draw. */
const growth = 4;
const paceStepMs = 20;
/** What other hubs give back may open a gate before its time. */
const lookAgainMs = 5_000;

export class Allowance {
  readonly gateId: number;
  readonly #onRestless: (allowance: Allowance) => void;
  #gate: RateGate;
  readonly #chunks = new HeldChunks();
  #samples: Samples = noSamples;
  #waitUntilMs = 0;
  #isWanted = false;
  #isFree = false;
  /** The last draw left something to wish for. */
  #isShort = false;
  #usedSinceDraw = 0;
  #lastTokens = 0;
  /** From when on the newest chunk is about to end. */
  #renewAtMs = Number.NEGATIVE_INFINITY;
  #spacingMs = 0;
  #drawnAtMs = Number.NEGATIVE_INFINITY;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #turnedAtMs = Number.NEGATIVE_INFINITY;
  #stepAtMs = Number.POSITIVE_INFINITY;
  #reason = "";
  #nextAtMs: number | null = null;

  /** @param onRestless `dueAt` may be sooner than it was */
  constructor(gate: RateGate, nowMs: number, onRestless: (allowance: Allowance) => void) {
    this.gateId = gate.gateId;
    this.#gate = gate;
    this.#onRestless = onRestless;
    if (turnOf(gate) > 0) this.#turn(turnOf(gate), nowMs);
    this.#heedOpen();
  }

  get gate(): RateGate {
    return this.#gate;
  }

  /** The gate as it was read again: one that was set or turned is asked anew. */
  adopt(gate: RateGate, nowMs: number): void {
    const isTurned = turnOf(gate) > this.#samples.turn;
    const isSet = gate.sinceMs !== this.#gate.sinceMs;
    this.#gate = gate;
    if (!isTurned && !isSet) return;
    if (isTurned) {
      this.#turn(turnOf(gate), nowMs);
      this.#isFree = false;
      this.#heedOpen();
    }
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
    this.#onRestless(this);
  }

  /** How many may start now. Asking says that something waits to start. */
  startsMax(nowMs: number): number {
    if (this.#isFree) return Number.POSITIVE_INFINITY;
    if (nowMs < this.#waitUntilMs) return 0;
    const { left, ready } = this.#chunks.count(nowMs);
    // Early enough that the next chunk is here before this one ends.
    if (!this.#isWanted && (left <= this.#lastTokens / 2 || nowMs >= this.#renewAtMs)) {
      this.#isWanted = true;
      this.#onRestless(this);
    }
    if (ready === 0 && left > 0 && this.#stepAtMs === Number.POSITIVE_INFINITY) {
      this.#stepAtMs = nowMs + paceStepMs;
      this.#onRestless(this);
    }
    return ready;
  }

  take(starts: number, nowMs: number): void {
    if (this.#isFree) return;
    this.#usedSinceDraw += starts;
    if (this.#chunks.take(starts, nowMs)) this.#onRestless(this);
  }

  giveBack(starts: number, nowMs: number): void {
    if (this.#isFree) return;
    this.#chunks.giveBack(starts, nowMs);
    this.#usedSinceDraw = Math.max(0, this.#usedSinceDraw - starts);
  }

  /** The ledger has told of turns since the gate was read. */
  isAheadOf(gate: RateGate): boolean {
    return this.#samples.turn > turnOf(gate);
  }

  /** Why nothing may start now, as far as this hub knows. */
  holdOf(nowMs: number): Hold | null {
    if (this.#isFree || !this.#isShort) return null;
    if (this.#chunks.count(nowMs).left > 0) return null;
    const reason = `${targetText(this.#gate.target)}: ${this.#reason}`;
    return { gate: this.#gate, reason, untilMs: this.#nextAtMs };
  }

  /** An attempt ended that began at `begunAtMs`: what that says of the service. */
  noteOutcome(outcome: "answered" | "failed", begunAtMs: number): void {
    if (this.#gate.type !== GateType.Breaker || begunAtMs < this.#turnedAtMs) return;
    this.#samples = { ...this.#samples, [outcome]: this.#samples[outcome] + 1 };
    this.#onRestless(this);
  }

  /** The service asked to slow down. When it asked to wait, nothing more starts here even before the ledger knows. */
  noteThrottled(waitMs: number, nowMs: number): void {
    if (this.#gate.type !== GateType.Bucket || this.#gate.settings.adaptive === null) return;
    this.#samples = { ...this.#samples, throttled: this.#samples.throttled + 1 };
    if (waitMs > 0) {
      this.#waitUntilMs = Math.max(this.#waitUntilMs, nowMs + waitMs);
      this.#chunks.endAll(nowMs);
    }
    this.#onRestless(this);
  }

  /** When the ledger is to be asked next; Infinity: there is no need. */
  dueAt(nowMs: number): number {
    this.#chunks.expire(nowMs);
    const soonestMs = this.#drawnAtMs + this.#spacingMs;
    const { answered, failed, throttled } = this.#samples;
    if (failed > 0 || throttled > 0 || this.#chunks.hasEnded) return soonestMs;
    let dueMs = Number.POSITIVE_INFINITY;
    if (this.#isWanted) dueMs = Math.max(soonestMs, this.#notBeforeMs);
    if (answered > 0) dueMs = Math.min(dueMs, this.#isFree ? this.#drawnAtMs + answersTellMs : soonestMs);
    return dueMs;
  }

  /** When it changes by itself: the rest of a chunk becomes due to go back, or more of one that is spread may start. */
  changesAt(): number {
    return Math.min(this.#stepAtMs, this.#chunks.nextEndMs);
  }

  /** More of a chunk that is spread may start by now; says so once. */
  takeStep(nowMs: number): boolean {
    if (nowMs < this.#stepAtMs) return false;
    this.#stepAtMs = Number.POSITIVE_INFINITY;
    return true;
  }

  /** @param random uniform in [0, 1) */
  send(nowMs: number, random: number): SentAsk {
    const ask: RateAsk = {
      wanted: this.#isWanted ? Math.max(wantedMin, growth * this.#usedSinceDraw) : 0,
      settled: this.#chunks.takeSettled(nowMs),
      samples: { ...this.#samples, waitMs: Math.max(0, this.#waitUntilMs - nowMs) },
      random,
    };
    this.#samples = { ...noSamples, turn: this.#samples.turn };
    this.#waitUntilMs = 0;
    this.#isWanted = false;
    this.#usedSinceDraw = 0;
    this.#drawnAtMs = nowMs;
    this.#spacingMs = drawSpacingMs * (1 + random / 4);
    return { ask, askedAtMs: nowMs };
  }

  answered({ ask, askedAtMs }: SentAsk, drawn: TimedDraw, nowMs: number): void {
    if (drawn.turn < this.#samples.turn) return;
    if (drawn.turn > this.#samples.turn) this.#turn(drawn.turn, nowMs);
    this.#isFree = drawn.isFree;
    this.#reason = drawn.reason;
    this.#nextAtMs = drawn.nextAtMs;
    const untilNextMs = drawn.nextAtMs === null ? 0 : drawn.nextAtMs - drawn.nowMs;
    this.#notBeforeMs = nowMs + Math.min(Math.max(0, untilNextMs), lookAgainMs);
    const tokens = drawn.chunk?.tokens ?? 0;
    this.#isShort = tokens < ask.wanted && !drawn.isFree;
    if (ask.wanted > 0) {
      this.#lastTokens = tokens;
      this.#renewAtMs = askedAtMs + (drawn.chunk?.lifeMs ?? chunkLifeMs) / 2;
    }
    if (drawn.chunk) {
      const { chunk, lifeMs } = drawn.chunk;
      const paceMs = this.#isShort ? drawSpacingMs : 0;
      this.#chunks.add({ chunk, tokens, gotAtMs: nowMs, endsAtMs: askedAtMs + lifeMs, paceMs });
      this.#onRestless(this);
    }
  }

  /** Whether the ledger heeded it is unknown. Told twice, a chunk comes back once, and a slow-down counts once. */
  failed({ ask, askedAtMs }: SentAsk): void {
    const { samples, wanted, settled } = ask;
    this.#chunks.putBackSettled(settled, askedAtMs);
    if (wanted > 0) this.#isWanted = true;
    if (samples.throttled > 0) {
      this.#samples = { ...this.#samples, throttled: this.#samples.throttled + samples.throttled };
      this.#waitUntilMs = Math.max(this.#waitUntilMs, askedAtMs + samples.waitMs);
    }
    if (samples.turn === this.#samples.turn) {
      const { answered, failed } = this.#samples;
      this.#samples = {
        ...this.#samples,
        answered: answered + samples.answered,
        failed: failed + samples.failed,
      };
    }
    this.#onRestless(this);
  }

  #turn(turn: number, nowMs: number): void {
    this.#samples = { ...noSamples, turn };
    this.#turnedAtMs = nowMs;
    this.#chunks.clear();
  }

  #heedOpen(): void {
    if (this.#gate.type !== GateType.Breaker || this.#gate.state.phase !== "open") return;
    this.#isShort = true;
    this.#reason = breakerReason(this.#gate.state as BreakerState);
    this.#nextAtMs = this.#gate.state.untilMs ?? null;
  }
}

function turnOf(gate: RateGate): number {
  return gate.type === GateType.Breaker ? (gate.state.turn ?? 0) : 0;
}
