import type { MessageInitShape } from "@bufbuild/protobuf";
import type { BlackoutWindow, BlackoutWindowSchema } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { InvalidArgumentError } from "commander";

export const WINDOW_HELP = '"mon-fri 22:00-06:00", "sat,sun 00:00-00:00" or "12:00-13:00" for every day';

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const FORM = /^(?:([a-z,-]+) )?(\d{2}):(\d{2})-(\d{2}):(\d{2})$/;

/** Reads a window of the week; commander hands over those that were read before. */
export function collectWindow(
  text: string,
  before: readonly MessageInitShape<typeof BlackoutWindowSchema>[] = [],
): MessageInitShape<typeof BlackoutWindowSchema>[] {
  const [, days, ...clock] = FORM.exec(text.toLowerCase()) ?? [];
  const [fromHour = 24, fromMinute = 60, toHour = 24, toMinute = 60] = clock.map(Number);
  if (fromHour > 23 || toHour > 23 || fromMinute > 59 || toMinute > 59) {
    throw new InvalidArgumentError(`"${text}" is not a window: write ${WINDOW_HELP}.`);
  }
  const window = {
    days: days === undefined ? [] : parseDays(days, text),
    fromMinute: fromHour * 60 + fromMinute,
    toMinute: toHour * 60 + toMinute,
  };
  return [...before, window];
}

function parseDays(days: string, text: string): number[] {
  const found = days.split(",").flatMap((part) => {
    const [from = "", to = from] = part.split("-");
    const [first, last] = [DAYS.indexOf(from), DAYS.indexOf(to)];
    if (first < 0 || last < 0) {
      throw new InvalidArgumentError(`"${text}" names days other than ${DAYS.join(", ")}.`);
    }
    const count = ((last - first + DAYS.length) % DAYS.length) + 1;
    return Array.from({ length: count }, (_, at) => ((first + at) % DAYS.length) + 1);
  });
  return [...new Set(found)];
}

/** The same the other way. */
export function windowText({ days, fromMinute, toMinute }: BlackoutWindow): string {
  const clock = (minute: number) =>
    `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
  const on = days.length === DAYS.length ? "" : `${days.map((day) => DAYS[day - 1]).join(",")} `;
  return `${on}${clock(fromMinute)}-${clock(toMinute)}`;
}
