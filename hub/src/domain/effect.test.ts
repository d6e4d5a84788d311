import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decideEffect,
  type EffectAct,
  type EffectDecision,
  type EffectRecord,
  EffectState,
  effectFingerprint,
} from "./effect.js";

const held: EffectRecord = {
  state: EffectState.Held,
  effectToken: 7n,
  subject: "ada",
  requestId: "r1",
  heldUntilMs: 1_000,
  fingerprint: null,
};
const effects = {
  none: null,
  open: { ...held, state: EffectState.Open },
  held,
  "run out": { ...held, heldUntilMs: 500 },
  completed: { ...held, state: EffectState.Completed, fingerprint: "f1" },
} as const satisfies Record<string, EffectRecord | null>;
type EffectWord = keyof typeof effects;
const nowMs = 500;

const own = { subject: "ada", effectToken: 7n } as const;
const acts = {
  "claim, again": { type: "claim", subject: "ada", requestId: "r1" },
  "claim, anew": { type: "claim", subject: "ada", requestId: "r2" },
  "claim, by another under the same request id": { type: "claim", subject: "bob", requestId: "r1" },
  renew: { type: "renew", ...own },
  "renew, by another": { type: "renew", subject: "bob", effectToken: 7n },
  "renew, older token": { type: "renew", subject: "ada", effectToken: 6n },
  complete: { type: "complete", ...own, fingerprint: "f1" },
  "complete, otherwise": { type: "complete", ...own, fingerprint: "f2" },
  "complete, by another": { type: "complete", ...own, subject: "bob", fingerprint: "f1" },
  "complete, older token": { type: "complete", ...own, effectToken: 6n, fingerprint: "f1" },
  "give back": { type: "give_back", ...own },
  "give back, by another": { type: "give_back", ...own, subject: "bob" },
  "give back, older token": { type: "give_back", ...own, effectToken: 6n },
  "take away": { type: "take_away" },
} as const satisfies Record<string, EffectAct>;
type ActWord = keyof typeof acts;

/** Written out by hand, apart from the rules that it checks. "first", "next" and "over" are grants. */
const table: Readonly<Record<ActWord, string>> = {
  //                                              none   open     held     run out completed
  "claim, again": "                               first  next     repeated over    completed",
  "claim, anew": "                                first  next     held     over    completed",
  "claim, by another under the same request id": "first  next     held     over    completed",
  renew: "                                        absent stale    changed  changed completed",
  "renew, by another": "                          absent stale    stale    stale   completed",
  "renew, older token": "                         absent stale    stale    stale   completed",
  complete: "                                     absent stale    changed  changed repeated",
  "complete, otherwise": "                        absent stale    changed  changed completed",
  "complete, by another": "                       absent stale    stale    stale   completed",
  "complete, older token": "                      absent stale    stale    stale   completed",
  "give back": "                                  absent repeated changed  changed completed",
  "give back, by another": "                      absent stale    stale    stale   completed",
  "give back, older token": "                     absent stale    stale    stale   completed",
  "take away": "                                  absent repeated changed  changed completed",
};

function wordOf(decision: EffectDecision): string {
  if (decision.type !== "granted") return decision.type;
  if (decision.isTakenOver) return "over";
  return decision.effectToken === 1n ? "first" : "next";
}

const cases = (Object.keys(table) as ActWord[]).flatMap((act) => {
  const words = table[act].trim().split(/\s+/);
  return (Object.keys(effects) as EffectWord[]).map((effect, at) => ({ act, effect, answer: words[at] }));
});

describe("an act on an effect (D16, D17)", () => {
  it.each(cases)("$act, of one that is $effect: $answer", ({ act, effect, answer }) => {
    expect(wordOf(decideEffect(effects[effect], acts[act], nowMs, true))).toBe(answer);
  });

  it.each(cases)(
    "$act, of one that is $effect, without the job's lease: stale, unless it is nothing new",
    ({ act, effect }) => {
      const decision = decideEffect(effects[effect], acts[act], nowMs, false);

      if (act === "take away")
        expect(decision).toEqual(decideEffect(effects[effect], acts[act], nowMs, true));
      else if (act === "complete" && effect === "completed") expect(decision).toEqual({ type: "repeated" });
      else expect(decision).toEqual({ type: "stale", of: "job" });
    },
  );
});

describe("a grant", () => {
  it("is given at the very moment that the lease runs out, and not a moment before (D17)", () => {
    const claim = acts["claim, anew"];

    expect(decideEffect(held, claim, 999, true).type).toBe("held");
    expect(decideEffect(held, claim, 1_000, true)).toEqual({
      type: "granted",
      effectToken: 8n,
      isTakenOver: true,
    });
  });

  it("always has a higher token than every grant before it", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 1n, max: 1n << 60n }),
        fc.integer(),
        fc.constantFrom(EffectState.Open, EffectState.Held),
        (effectToken, heldUntilMs, state) => {
          const effect = { ...held, effectToken, heldUntilMs, state };
          const decision = decideEffect(effect, acts["claim, anew"], heldUntilMs, true);
          expect(decision.type === "granted" && decision.effectToken > effectToken).toBe(true);
        },
      ),
    );
  });
});

describe("the fingerprint of a completion", () => {
  it("tells content types and results apart, also where they touch", () => {
    const of = (result: string, type: string) => effectFingerprint(Buffer.from(result), type);

    expect(of("a", "text/plain")).toBe(of("a", "text/plain"));
    expect(new Set([of("a", "t"), of("b", "t"), of("a", "u"), of("", "ta"), of("ta", "")]).size).toBe(5);
  });
});
