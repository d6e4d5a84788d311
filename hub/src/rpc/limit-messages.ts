// Limits between the protocol and the domain: one place per type of limit where its settings are checked, and shown.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Blackout,
  type LimitSchema,
  type LimitSettings,
  type LimitSettingsSchema,
  type LimitTarget,
  type LimitTargetSchema,
  LimitType,
} from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { type BlackoutSettings, isTimeZone } from "../domain/blackout.js";
import { type Gate, type GateSettings, type GateTarget, GateType } from "../domain/gate.js";
import { type LimitView, parkedCountMax } from "../services/limits.js";
import { checkCount, checkInteger, checkName, checkSource, checkText, invalid } from "./check.js";
import { optionalTime } from "./job-messages.js";
import type { JustificationNeed } from "./operation-service.js";

/** @throws Fault INVALID_FIELD */
export function toTarget(message: LimitTarget | undefined): GateTarget {
  switch (message?.target.case) {
    case "tenant":
      return { type: "tenant" };
    case "product":
      return { type: "product", product: checkName("target.product", message.target.value) };
    case "queue":
      return {
        type: "queue",
        product: checkName("target.queue.product", message.target.value.product),
        queue: checkName("target.queue.queue", message.target.value.queue),
      };
    case "source":
      if (message.target.value === "") throw invalid("target.source", "must not be empty");
      return { type: "source", source: checkSource("target.source", message.target.value) };
    case undefined:
      throw invalid("target", "is required: tenant, product, queue or source");
  }
}

export function toTargetMessage(target: GateTarget): MessageInitShape<typeof LimitTargetSchema> {
  switch (target.type) {
    case "tenant":
      return { target: { case: "tenant", value: {} } };
    case "product":
      return { target: { case: "product", value: target.product } };
    case "queue":
      return { target: { case: "queue", value: { product: target.product, queue: target.queue } } };
    case "source":
      return { target: { case: "source", value: target.source } };
  }
}

const typesByLimit: Readonly<Record<Exclude<LimitType, LimitType.UNSPECIFIED>, GateType>> = {
  [LimitType.PAUSE]: GateType.Pause,
  [LimitType.BLACKOUT]: GateType.Blackout,
};

/** null: any; only where that is a choice. */
export function toGateType(type: LimitType, isOptional: boolean): GateType | null {
  if (type === LimitType.UNSPECIFIED && isOptional) return null;
  const found = typesByLimit[type as keyof typeof typesByLimit];
  if (found === undefined) throw invalid("type", `has the unknown value ${type}`);
  return found;
}

/** How much an operator has to say to change a limit. */
export function needOf(_type: GateType): JustificationNeed {
  return "optional";
}

/**
 * @param note why it is set, for people
 * @throws Fault INVALID_FIELD
 */
export function toSettings(message: LimitSettings | undefined, note: string): GateSettings {
  const settings = message?.settings;
  switch (settings?.case) {
    case "pause":
      return { type: GateType.Pause, settings: { note } };
    case "blackout":
      return { type: GateType.Blackout, settings: { note, ...toBlackout(settings.value) } };
    case undefined:
      throw invalid("settings", "is required: exactly one kind of limit");
  }
}

function toBlackout({ timeZone, windows }: Blackout): BlackoutSettings {
  const zone = checkText("settings.blackout.time_zone", timeZone || "UTC", 64, 1);
  if (!isTimeZone(zone))
    throw invalid("settings.blackout.time_zone", "must be an IANA name, like Europe/Berlin");
  checkCount("settings.blackout.windows", windows.length, 1, 50);
  return {
    timeZone: zone,
    windows: windows.map(({ days, fromMinute, toMinute }, at) => {
      const path = `settings.blackout.windows[${at}]`;
      checkCount(`${path}.days`, days.length, 0, 7);
      for (const day of days) checkInteger(`${path}.days`, day, 1, 7);
      if (new Set(days).size < days.length) throw invalid(`${path}.days`, "must name each day once");
      return {
        days: days.length === 0 ? [1, 2, 3, 4, 5, 6, 7] : [...days],
        fromMinute: checkInteger(`${path}.from_minute`, fromMinute, 0, 1439),
        toMinute: checkInteger(`${path}.to_minute`, toMinute, 0, 1439),
      };
    }),
  };
}

function toSettingsMessage(gate: Gate): MessageInitShape<typeof LimitSettingsSchema> {
  switch (gate.type) {
    case GateType.Pause:
      return { settings: { case: "pause", value: {} } };
    case GateType.Blackout: {
      const { timeZone, windows } = gate.settings;
      const value = { timeZone, windows: windows.map((window) => ({ ...window, days: [...window.days] })) };
      return { settings: { case: "blackout", value } };
    }
  }
}

export function toLimitMessage(view: LimitView): MessageInitShape<typeof LimitSchema> {
  const { gate, hold } = view;
  return {
    target: toTargetMessage(gate.target),
    settings: toSettingsMessage(gate),
    note: gate.settings.note,
    ...optionalTime("since", gate.sinceMs),
    shut: hold !== null,
    reason: hold?.reason ?? "",
    ...optionalTime("until", hold?.untilMs ?? null),
    parkedJobs: Math.min(view.parkedJobs, parkedCountMax),
    parkedAtLeast: view.parkedJobs > parkedCountMax,
    ...optionalTime("parkedSince", view.parkedSinceMs),
    waiting: view.waiting.map(({ lane, stats, headReadyAtMs }) => ({
      product: lane.product,
      queue: lane.queue,
      kind: lane.kind,
      priority: lane.priority as number,
      source: lane.source,
      window: stats.window,
      hasRest: stats.hasRest,
      ...optionalTime("headSince", headReadyAtMs),
    })),
  };
}
