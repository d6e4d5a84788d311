// Checks of single fields, each naming the field's path and the rule that it breaks.
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { Fault } from "../domain/fault.js";
import { isUuid } from "../domain/uuid.js";

/** The last of the year 9999. */
export const timeMsMax = 253_402_300_799_999;

const nameForm = /^[a-z0-9][a-z0-9._-]{0,127}$/;

export function invalid(field: string, rule: string): Fault {
  return new Fault("INVALID_FIELD", `${field} ${rule}.`, { field, rule });
}

/** The form of names, and ":" and "/" besides: what services are called. */
const sourceForm = /^[a-z0-9][a-z0-9._:/-]{0,127}$/;
/** Capitals too: keys of customers are made by others. */
const fairnessKeyForm = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;

export function checkName(field: string, text: string, fallback = ""): string {
  const name = text === "" ? fallback : text;
  if (!nameForm.test(name))
    throw invalid(field, "must be 1 to 128 characters of a-z 0-9 . _ -, starting with a letter or digit");
  return name;
}

/** Empty means none. */
export function checkSource(field: string, text: string): string {
  if (text !== "" && !sourceForm.test(text))
    throw invalid(field, "must be 1 to 128 characters of a-z 0-9 . _ : / -, starting with a letter or digit");
  return text;
}

export function checkFairnessKey(field: string, text: string): string {
  if (!fairnessKeyForm.test(text))
    throw invalid(
      field,
      "must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -, starting with a letter or digit",
    );
  return text;
}

/** Text that PostgreSQL can hold, of bounded length in UTF-8 bytes. */
export function checkText(field: string, text: string, bytesMax: number, bytesMin = 0): string {
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax || bytes < bytesMin)
    throw invalid(field, `must have ${bytesMin} to ${bytesMax} bytes`);
  if (text.includes("\0") || !text.isWellFormed())
    throw invalid(field, "must be valid text without NUL characters");
  return text;
}

export function checkBytes(field: string, bytes: Uint8Array, bytesMax: number, limit: string): Uint8Array {
  if (bytes.length > bytesMax)
    throw new Fault("PAYLOAD_TOO_LARGE", `${field} has ${bytes.length} bytes; the limit is ${bytesMax}.`, {
      field,
      limit,
      value: String(bytesMax),
    });
  return bytes;
}

export function checkCount(field: string, count: number, min: number, max: number): void {
  if (count < min || count > max) throw invalid(field, `must have ${min} to ${max} entries`);
}

export function checkInteger(field: string, number: number | bigint, min: number, max: number): number {
  if (number < min || number > max) throw invalid(field, `must be from ${min} to ${max}`);
  return Number(number);
}

/** A value of an enum that this hub knows; never silently a default. */
export function checkEnum<Value extends number>(
  field: string,
  number: number,
  known: Readonly<Record<string, Value>>,
  fallback: Value | null,
): Value {
  if (number === 0 && fallback !== null) return fallback;
  const value = Object.values(known).find((value) => value === number);
  if (value === undefined) throw invalid(field, `has the unknown value ${number}`);
  return value;
}

/** Keys that others make, with capitals: the form of fairness keys. */
export const checkKey = checkFairnessKey;

export function checkUuid(field: string, text: string): string {
  if (!isUuid(text)) throw invalid(field, "must be a UUID in its canonical lower-case form");
  return text;
}

/** Milliseconds, rounded up; undefined means `fallback`. */
export function checkDuration(
  field: string,
  duration: Duration | undefined,
  maxMs: number,
  fallback: number,
): number {
  if (duration === undefined) return fallback;
  const ms = Number(duration.seconds) * 1000 + Math.ceil(duration.nanos / 1e6);
  if (!(ms >= 0 && ms <= maxMs)) throw invalid(field, `must be from 0 to ${maxMs / 1000} s`);
  return ms;
}

/** Milliseconds since 1970, or null when it is not set. Years 2000 to 9999. */
export function checkTime(field: string, timestamp: Timestamp | undefined): number | null {
  if (timestamp === undefined) return null;
  const ms = Number(timestamp.seconds) * 1000 + Math.floor(timestamp.nanos / 1e6);
  if (!(ms >= 946_684_800_000 && ms <= timeMsMax) || timestamp.nanos < 0 || timestamp.nanos > 999_999_999)
    throw invalid(field, "must be a time in the years 2000 to 9999");
  return ms;
}

export function checkPageSize(pageSize: number): number {
  return pageSize === 0 ? 50 : checkInteger("page_size", pageSize, 1, 500);
}
