import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Effect, EffectSchema, EffectState } from "@holdfast/gen/holdfast/v1/effect_pb";
import { JSON_OPTIONS, readable } from "./job-json.js";
import { contentText, relative, time } from "./job-text.js";
import { effectStateWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { formatFields } from "./table.js";

export const EFFECT_HEADINGS = ["KEY", "STATE", "TOKEN", "HOLDER", "CLAIMED", "NOTE"] as const;

export function effectRow(effect: Effect, nowMs: number, paint: Paint): string[] {
  return [
    effect.name?.key ?? "",
    paintedState(effect, nowMs, paint),
    String(effect.effectToken),
    holderText(effect),
    relative(effect.claimedAt, nowMs),
    effectNote(effect, nowMs),
  ];
}

/** One effect in full. */
export function effectText(effect: Effect, nowMs: number, paint: Paint): string {
  const { name, abandonment } = effect;
  return formatFields(
    [
      ["key", paint.strong(name?.key ?? "")],
      [name?.owner.case === "scope" ? "scope" : "job", name?.owner.value],
      ["state", paintedState(effect, nowMs, paint)],
      ["effect token", String(effect.effectToken)],
      [effect.state === EffectState.HELD ? "holder" : "last holder", holderText(effect)],
      ["claimed", time(effect.claimedAt, nowMs)],
      ["held until", effect.state === EffectState.HELD ? time(effect.heldUntil, nowMs) : undefined],
      ["taken over", effect.takenOver ? "yes: it may have been done before" : undefined],
      ["completed", time(effect.completedAt, nowMs)],
      ["result", contentText(effect.result, effect.contentType)],
      ["given up", time(abandonment?.at, nowMs)],
      ["by", abandonment?.by || undefined],
      ["reason", abandonment?.reason],
    ],
    paint,
  );
}

/** An effect as the protocol's JSON writes it, with its result readable beside it as `resultValue`. */
export function effectJson(effect: Effect): JsonObject {
  const value = toJson(EffectSchema, effect, JSON_OPTIONS) as JsonObject;
  const result = readable(effect.result, effect.contentType);
  return result === undefined ? value : { ...value, resultValue: result };
}

function paintedState(effect: Effect, nowMs: number, paint: Paint): string {
  const word = effectStateWord(effect.state);
  switch (effect.state) {
    case EffectState.COMPLETED:
      return paint.good(word);
    case EffectState.HELD:
      return hasRunOut(effect, nowMs) ? paint.bad(`${word}, ran out`) : paint.warn(word);
    default:
      return word;
  }
}

/** As far as this machine's clock can tell: the ledger's decides. */
function hasRunOut({ heldUntil }: Effect, nowMs: number): boolean {
  return heldUntil !== undefined && timestampMs(heldUntil) <= nowMs;
}

function holderText({ holder }: Effect): string {
  return [holder?.subject, holder?.sessionId].filter(Boolean).join(" ") || "-";
}

/** What is worth knowing in a list. */
function effectNote(effect: Effect, nowMs: number): string {
  switch (effect.state) {
    case EffectState.COMPLETED:
      return `completed ${relative(effect.completedAt, nowMs)}, ${effect.resultBytes} bytes`;
    case EffectState.HELD:
      return `${hasRunOut(effect, nowMs) ? "ran out" : "ends"} ${relative(effect.heldUntil, nowMs)}`;
    default:
      return effect.abandonment === undefined
        ? ""
        : `given up: ${effect.abandonment.reason.split("\n", 1)[0]}`;
  }
}
