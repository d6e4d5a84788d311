// Times at which something happens again and again, as pure arithmetic: after this one, before this one. Calendars and
// zones are croner's (docs/adr/0029), which here computes and never waits.
import { Cron } from "croner";
import { Fault } from "./fault.js";
import { instant } from "./instant.js";

export type Cadence =
  | { readonly type: "cron"; readonly expression: string; readonly zone: string }
  /** Times are whole intervals before and after the anchor. */
  | { readonly type: "interval"; readonly everyMs: number; readonly anchorMs: number };

/** No time before the first, none after the last; null: none such. */
export interface CadenceBounds {
  readonly startsAtMs: number | null;
  readonly endsAtMs: number | null;
}

/** The times of a cadence. Those that both find are the same. */
export interface Times {
  /** The first time after this one; null when there is none. */
  readonly after: (ms: number) => number | null;
  /** The last time before this one; null when there is none. */
  readonly before: (ms: number) => number | null;
}

/** @throws Fault INVALID_FIELD, naming the field under `path`, when the expression or the zone is none */
export function timesOf(cadence: Cadence, bounds: CadenceBounds, path = "cadence"): Times {
  const times =
    cadence.type === "cron" ? cronTimes(cadence, path) : intervalTimes(cadence.everyMs, cadence.anchorMs);
  const startMs = bounds.startsAtMs ?? Number.NEGATIVE_INFINITY;
  const endMs = bounds.endsAtMs ?? Number.POSITIVE_INFINITY;
  return {
    after: (ms) => {
      const found = times.after(Math.max(ms, startMs - 1));
      return found !== null && found <= endMs ? found : null;
    },
    before: (ms) => {
      const found = times.before(Math.min(ms, endMs + 1));
      return found !== null && found >= startMs ? found : null;
    },
  };
}

function intervalTimes(everyMs: number, anchorMs: number): Times {
  return {
    after: (ms) => anchorMs + (Math.floor((ms - anchorMs) / everyMs) + 1) * everyMs,
    before: (ms) => anchorMs + (Math.ceil((ms - anchorMs) / everyMs) - 1) * everyMs,
  };
}

function cronTimes({ expression, zone }: Cadence & { readonly type: "cron" }, path: string): Times {
  requireZone(zone, `${path}.cron.zone`);
  const cron = parse(expression, zone, `${path}.cron.expression`);
  return {
    after: (ms) => cron.nextRun(instant(ms))?.getTime() ?? null,
    before: (ms) => cron.previousRuns(1, instant(ms))[0]?.getTime() ?? null,
  };
}

function parse(expression: string, zone: string, field: string): Cron {
  // croner would take a date for an expression that fires once.
  const isForm = expression.startsWith("@") || [5, 6].includes(expression.trim().split(/\s+/).length);
  const rule = "must be a cron expression of five or six fields";
  if (!isForm) throw new Fault("INVALID_FIELD", `${field} ${rule}.`, { field, rule });
  try {
    return new Cron(expression, { timezone: zone, mode: "auto" });
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new Fault("INVALID_FIELD", `${field} ${rule}: ${detail}.`, { field, rule }, { cause });
  }
}

function requireZone(zone: string, field: string): void {
  const rule = "must be a time zone of the IANA database, such as Europe/Berlin";
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
  } catch (cause) {
    throw new Fault("INVALID_FIELD", `${field} ${rule}.`, { field, rule }, { cause });
  }
}
