// Blackout windows: times of the week, in a time zone, in which nothing starts.

export interface BlackoutWindow {
  /** 1 Monday to 7 Sunday: the days on which it begins. */
  readonly days: readonly number[];
  /** Minute of the local day, 0 to 1439. */
  readonly fromMinute: number;
  /** Minute of the local day, 0 to 1439, at which it is over; on the next day when not after `fromMinute`. */
  readonly toMinute: number;
}

export interface BlackoutSettings {
  /** IANA name, like Europe/Berlin. */
  readonly timeZone: string;
  readonly windows: readonly BlackoutWindow[];
}

const minutesPerDay = 1_440;
const minutesPerWeek = 7 * minutesPerDay;
const minuteMs = 60_000;

/** Whether the machine knows a time zone. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/**
 * When the blackout is over that a time lies in, milliseconds since 1970; null outside of all windows. Windows that
 * overlap or touch are one. Ends are local times: on the day when clocks change, a window is an hour longer or shorter.
 * Windows that fill the whole week end never: then it is the time a week from now.
 */
export function blackoutAt(settings: BlackoutSettings, atMs: number): number | null {
  const nowMinute = minuteOfWeek(settings.timeZone, atMs);
  let end = nowMinute;
  for (;;) {
    const next = Math.max(...settings.windows.map((window) => endAround(window, end)));
    if (!(next > end)) break;
    end = next;
    if (end - nowMinute >= minutesPerWeek) return atMs + minutesPerWeek * minuteMs;
  }
  return end === nowMinute ? null : atOfMinute(settings.timeZone, atMs, end - nowMinute);
}

/** Until when a blackout stays as it is at a time: windows begin and end at full minutes. */
export function nextEdgeMs(atMs: number): number {
  return (Math.floor(atMs / minuteMs) + 1) * minuteMs;
}

/** Where a window that a minute of some week lies in is over, on the same scale; that minute when it lies in none. */
function endAround(window: BlackoutWindow, minute: number): number {
  const length = ((window.toMinute - window.fromMinute + minutesPerDay - 1) % minutesPerDay) + 1;
  let end = minute;
  for (const day of window.days) {
    const from = (day - 1) * minutesPerDay + window.fromMinute;
    const into = (((minute - from) % minutesPerWeek) + minutesPerWeek) % minutesPerWeek;
    if (into < length) end = Math.max(end, minute - into + length);
  }
  return end;
}

/** So many minutes of local time later, at the full minute; clocks that change in between are made up for. */
function atOfMinute(timeZone: string, fromMs: number, minutes: number): number {
  const wanted = (minuteOfWeek(timeZone, fromMs) + minutes) % minutesPerWeek;
  const guess = Math.floor(fromMs / minuteMs) * minuteMs + minutes * minuteMs;
  const off = wanted - minuteOfWeek(timeZone, guess);
  const half = minutesPerWeek / 2;
  const correction = ((((off + half) % minutesPerWeek) + minutesPerWeek) % minutesPerWeek) - half;
  return guess + correction * minuteMs;
}

const formats = new Map<string, Intl.DateTimeFormat>();
const weekdays: readonly string[] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

function minuteOfWeek(timeZone: string, atMs: number): number {
  let format = formats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone,
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
    formats.set(timeZone, format);
  }
  const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, value]));
  const day = weekdays.indexOf(parts.get("weekday") ?? "");
  return day * minutesPerDay + Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
}
