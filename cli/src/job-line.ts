import { InvalidArgumentError } from "commander";
import { parseDurationMs } from "./arguments/duration.js";
import { parseMicroUsd } from "./arguments/money.js";
import { JSON_CONTENT_TYPE, type Payload } from "./arguments/payload.js";
import { parseTime } from "./arguments/time.js";
import { parseWindow } from "./arguments/window.js";
import { CliError, usageError } from "./cli-error.js";
import { FAILURE_CLASS_WORDS } from "./dead-text.js";
import type { JobFields } from "./job-spec.js";
import {
  DISCONNECT_POLICY_WORDS,
  IN_FLIGHT_POLICY_WORDS,
  oneOf,
  PRIORITY_WORDS,
  UNIQUE_POLICY_WORDS,
} from "./job-words.js";

// A job in a file, a line of a batch or a part of a run: a JSON object whose fields are named as the options of `holdfast
// submit`. A field that is not known is refused, so that a slip of the pen never becomes a default in silence.

export interface JobLine {
  readonly kind?: string;
  readonly payload?: Payload;
  readonly fields: JobFields;
}

type FieldReader = (value: unknown) => Partial<JobFields>;

const FIELD_READERS: Readonly<Record<string, FieldReader>> = {
  queue: (value) => ({ queue: text(value) }),
  product: (value) => ({ product: text(value) }),
  priority: (value) => ({ priority: oneOf(PRIORITY_WORDS)(text(value)) }),
  capabilities: (value) => ({ capabilities: texts(value) }),
  labels: (value) => ({ labels: textRecord(value) }),
  source: (value) => ({ source: text(value) }),
  fairnessKey: (value) => ({ fairnessKey: text(value) }),
  fairnessWeight: (value) => ({ fairnessWeight: number(value) }),
  inFlightKey: (value) => ({ inFlightKey: text(value) }),
  inFlightMax: (value) => ({ inFlightMax: number(value) }),
  inFlightPolicy: (value) => ({ inFlightPolicy: oneOf(IN_FLIGHT_POLICY_WORDS)(text(value)) }),
  estimateCost: (value) => ({ estimateCost: parseMicroUsd(text(value)) }),
  estimateTokens: (value) => ({ estimateTokens: number(value) }),
  idempotencyKey: (value) => ({ idempotencyKey: text(value) }),
  uniqueKey: (value) => ({ uniqueKey: text(value) }),
  uniquePolicy: (value) => ({ uniquePolicy: oneOf(UNIQUE_POLICY_WORDS)(text(value)) }),
  runAt: (value) => ({ runAt: parseTime(text(value)) }),
  startBy: (value) => ({ startBy: parseTime(text(value)) }),
  window: (value) => ({ window: parseWindow(text(value)) }),
  permanentCodes: (value) => ({ permanentCodes: texts(value) }),
  permanentClasses: (value) => ({ permanentClasses: texts(value).map(oneOf(FAILURE_CLASS_WORDS)) }),
  deadline: (value) => ({ deadline: parseTime(text(value)) }),
  maxAttempts: (value) => ({ maxAttempts: number(value) }),
  initialBackoff: (value) => ({ initialBackoffMs: parseDurationMs(text(value)) }),
  backoffFactor: (value) => ({ backoffFactor: number(value) }),
  maxBackoff: (value) => ({ maxBackoffMs: parseDurationMs(text(value)) }),
  disconnectPolicy: (value) => ({ disconnectPolicy: oneOf(DISCONNECT_POLICY_WORDS)(text(value)) }),
  after: (value) => ({ after: texts(value) }),
  afterEnded: (value) => ({ afterEnded: texts(value) }),
  disconnectLimit: (value) => ({ disconnectLimitMs: parseDurationMs(text(value)) }),
};

const KNOWN_FIELDS = ["kind", "payload", ...Object.keys(FIELD_READERS)];

/** Reads one line; the error names the line and the field. */
export function parseJobLine(line: string, lineNumber: number): JobLine {
  return readJobRecord(parseRecord(line, lineNumber), `Line ${lineNumber}`);
}

/** Reads one job; the error names its place and the field. */
export function readJobRecord(record: Readonly<Record<string, unknown>>, place: string): JobLine {
  let kind: string | undefined;
  let payload: Payload | undefined;
  let fields: JobFields = {};
  for (const [name, value] of Object.entries(record)) {
    if (name === "payload") {
      payload = { bytes: Buffer.from(JSON.stringify(value)), contentType: JSON_CONTENT_TYPE };
      continue;
    }
    const read = Object.hasOwn(FIELD_READERS, name) ? FIELD_READERS[name] : undefined;
    if (name !== "kind" && read === undefined) {
      throw usageError(
        `${place}: there is no field "${name}".`,
        `The fields are ${KNOWN_FIELDS.join(", ")}.`,
      );
    }
    try {
      if (read === undefined) {
        kind = text(value);
      } else {
        fields = { ...fields, ...read(value) };
      }
    } catch (error) {
      throw fieldError(place, name, error);
    }
  }
  return { ...(kind === undefined ? {} : { kind }), ...(payload === undefined ? {} : { payload }), fields };
}

export function fieldError(place: string, field: string, error: unknown): unknown {
  return error instanceof InvalidArgumentError
    ? usageError(`${place}, field "${field}": ${error.message}`, "Correct it and submit again.")
    : error;
}

export function parseRecord(line: string, lineNumber: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new CliError(`Line ${lineNumber} is not JSON: ${(error as Error).message}.`, {
      ...NOT_A_LINE,
      cause: error,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CliError(`Line ${lineNumber} is not a JSON object.`, NOT_A_LINE);
  }
  return value as Record<string, unknown>;
}

const NOT_A_LINE = {
  exitCode: 2,
  reason: "USAGE",
  next: 'Write one job per line, for example {"kind":"greet","payload":{"name":"Ada"}}.',
} as const;

export function text(value: unknown): string {
  if (typeof value !== "string") {
    throw new InvalidArgumentError("a text is expected.");
  }
  return value;
}

function number(value: unknown): number {
  if (typeof value !== "number") {
    throw new InvalidArgumentError("a number is expected.");
  }
  return value;
}

function texts(value: unknown): readonly string[] {
  if (!Array.isArray(value)) {
    throw new InvalidArgumentError("an array of texts is expected.");
  }
  return value.map(text);
}

function textRecord(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError("an object of texts is expected.");
  }
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, text(entry)]));
}
