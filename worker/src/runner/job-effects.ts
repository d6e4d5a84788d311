import { create } from "@bufbuild/protobuf";
import { DurationSchema, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import type { AcquiredEffect, HeldEffect } from "@holdfast/gen/holdfast/v1/effect_pb";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { EffectLostError } from "../job-errors.js";
import { show } from "../option-check.js";
import { TrustClock } from "../trust-clock.js";
import { type ActInit, type Answer, EffectCalls } from "./effect-calls.js";
import { EffectHold } from "./effect-hold.js";
import { decodeEffectValue, EffectNotStored, encodeEffectValue } from "./effect-value.js";
import type { EffectFunction, EffectOptions } from "./job-context.js";

const ttlDefaultMs = 30_000;
const ttlMinMs = 100;
const ttlMaxMs = 86_400_000;
const keyBytesMax = 256;
/** While another holds the effect: the holder may be done long before its lease runs out. */
const askAgainFirstMs = 100;
const askAgainMaxMs = 2_000;
/** Of all effects of this process. */
const clock = new TrustClock();

/** What the effects of an attempt need of it. */
type Attempt = { readonly id: string; readonly fencingToken: bigint; readonly signal: AbortSignal };
type Outlet = {
  send(requestId: string, act: Uint8Array): void;
  /** Bytes that the hub stores, as far as it is known. */
  resultBytesMax(): number;
};

/**
 * The effects of one attempt. Each goes its way alone:
 *
 *     claiming ──held──► waiting ──► claiming
 *        ├──completed──► (stored value)
 *        └──acquired──► running ──returned──► completing ──► (stored value)
 *                          ├──threw──► releasing ──► (what was thrown)
 *                          └──told to stop, threw──► (what was thrown; the lease runs out)
 *
 * Two calls with one key are one effect, and share its outcome. Nothing starts once the signal is aborted.
 */
export class JobEffects {
  readonly #attempt: Attempt;
  readonly #outlet: Outlet;
  readonly #calls: EffectCalls;
  /** By key: those under way, and those that came to a value. */
  readonly #known = new Map<string, Promise<unknown>>();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(attempt: Attempt, outlet: Outlet) {
    this.#attempt = attempt;
    this.#outlet = outlet;
    this.#calls = new EffectCalls(attempt, (requestId, act) => outlet.send(requestId, act));
  }

  run<Value>(
    key: string,
    run: EffectFunction<Value>,
    { ttlMs = ttlDefaultMs }: EffectOptions,
  ): Promise<Value> {
    const problem = problemOf(key, ttlMs);
    if (problem !== undefined) return Promise.reject(new RangeError(problem));
    const known = this.#known.get(key);
    if (known !== undefined) return known as Promise<Value>;
    const effect = this.#do(key, run, Math.ceil(ttlMs));
    this.#known.set(key, effect);
    this.#underWay.add(effect);
    const ended = () => this.#underWay.delete(effect);
    effect.then(ended, () => {
      ended();
      this.#known.delete(key);
    });
    return effect as Promise<Value>;
  }

  answered(verdict: Uint8Array): Error | undefined {
    return this.#calls.answered(verdict);
  }

  get isBusy(): boolean {
    return this.#underWay.size > 0;
  }

  /** Undefined when none is under way; rejects with what the first of them threw, once all have ended. */
  settled(): Promise<void> | undefined {
    if (this.#underWay.size === 0) return undefined;
    const effects = [...this.#underWay];
    return Promise.allSettled(effects).then(async () => {
      await this.settled();
      await Promise.all(effects);
    });
  }

  /** The attempt is over, or its lease is gone. */
  close(reason: Error): void {
    this.#calls.close(reason);
  }

  async #do<Value>(key: string, run: EffectFunction<Value>, ttlMs: number): Promise<unknown> {
    const { signal } = this.#attempt;
    for (let askAgainMs = askAgainFirstMs; ; askAgainMs = Math.min(askAgainMs * 2, askAgainMaxMs)) {
      signal.throwIfAborted();
      const askedAt = clock.now();
      const ttl = durationFromMs(ttlMs);
      const answer = await this.#calls.act(key, { case: "claim", value: { ttl } });
      switch (answer.case) {
        case "acquired":
          return await this.#runHeld(key, run, ttlMs, askedAt, answer.value);
        case "completed":
          return decodeEffectValue(answer.value);
        case "held":
          await pause(untilNextClaim(answer.value, askAgainMs), signal);
          break;
        default:
          throw refusal(answer);
      }
    }
  }

  async #runHeld<Value>(
    key: string,
    run: EffectFunction<Value>,
    ttlMs: number,
    askedAt: number,
    { effectToken, takenOver, timeLeft }: AcquiredEffect,
  ): Promise<unknown> {
    const hold = new EffectHold(ttlMs, { clock, askedAt, timeLeftMs: leftMs(timeLeft) }, () =>
      this.#renew(key, effectToken, ttlMs),
    );
    const signal = AbortSignal.any([this.#attempt.signal, hold.signal]);
    let isStarted = false;
    try {
      signal.throwIfAborted();
      isStarted = true;
      const idempotencyKey = `${this.#attempt.id}/${key}`;
      const value = await run({ key, idempotencyKey, effectToken, isTakenOver: takenOver, signal });
      return await this.#complete(key, effectToken, value);
    } catch (error) {
      hold.stop();
      // Told to stop half-way, it may have been done: then its lease runs out, and whoever takes over is warned.
      if (!isStarted || !signal.aborted) await this.#giveBack(key, effectToken, error);
      throw error;
    } finally {
      hold.stop();
    }
  }

  async #renew(key: string, effectToken: bigint, ttlMs: number): Promise<number> {
    const ttl = durationFromMs(ttlMs);
    const answer = await this.#calls.act(key, { case: "renew", value: { effectToken, ttl } });
    if (answer.case !== "renewed") throw refusal(answer);
    return leftMs(answer.value.timeLeft);
  }

  async #complete(key: string, effectToken: bigint, value: unknown): Promise<unknown> {
    const stored = encodeEffectValue(value, this.#outlet.resultBytesMax());
    const answer = await this.#calls.act(key, { case: "complete", value: { effectToken, ...stored } });
    if (answer.case !== "written") throw refusal(answer);
    // As every later call will see it.
    return decodeEffectValue(stored);
  }

  /** What was thrown matters more than whether this works: then the lease of the effect runs out. */
  async #giveBack(key: string, effectToken: bigint, error: unknown): Promise<void> {
    const act: ActInit =
      error instanceof EffectNotStored
        ? { case: "abandon", value: { effectToken, reason: error.message } }
        : { case: "release", value: { effectToken } };
    await this.#calls.act(key, act).catch(() => undefined);
  }
}

function problemOf(key: string, ttlMs: number): string | undefined {
  if (typeof key !== "string" || key === "" || Buffer.byteLength(key) > keyBytesMax || !isText(key))
    return `the key of an effect must be text of 1 to ${keyBytesMax} bytes without NUL, got ${show(key)}`;
  if (!(ttlMs >= ttlMinMs && ttlMs <= ttlMaxMs))
    return `ttlMs must be from ${ttlMinMs} to ${ttlMaxMs}, got ${ttlMs}`;
  return undefined;
}

/** A hub ends the stream, and the worker with it, over a key that is none. */
function isText(key: string): boolean {
  return key.isWellFormed() && !key.includes("\0");
}

function untilNextClaim({ timeLeft }: HeldEffect, askAgainMs: number): number {
  // Not all who wait ask at the same moment.
  const jitterMs = Math.random() * 20;
  return Math.min(leftMs(timeLeft), askAgainMs) + jitterMs;
}

function leftMs(timeLeft: AcquiredEffect["timeLeft"]): number {
  return durationMs(timeLeft ?? create(DurationSchema));
}

/** Ends early, and rejects, when the signal is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}

function refusal(answer: Answer): Error {
  if (answer.case !== "refused") return new Error(`the hub gave no fitting answer: ${answer.case}`);
  const { reason, message, metadata } = answer.value;
  if (reason === "STALE_FENCE") return new EffectLostError(message);
  return new HoldfastError({ reason, message, metadata, grpcCode: 9, retryAfterMs: undefined });
}
