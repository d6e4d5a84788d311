// A run in a file: a JSON document {"parent", "children", "failurePolicy", "stopGrace"}, or one job per line, the parent
// first. Children name each other by their "key", which is their own within the file: as idempotency keys they are put
// behind that of the parent, so that a file with a parent's key makes one run, however often it is submitted, and a file
// without makes a new one each time.
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { CompensationSchema, type FailurePolicy, type JobSpec } from "@holdfast/gen/holdfast/v1/job_pb";
import { InvalidArgumentError } from "commander";
import { parseDurationMs } from "./arguments/duration.js";
import { usageError } from "./cli-error.js";
import { fieldError, parseRecord, readJobRecord, text } from "./job-line.js";
import { type JobFields, jobSpec } from "./job-spec.js";
import { FAILURE_POLICY_WORDS, oneOf } from "./job-words.js";

/** The protocol's limit of children in one call. */
const CHILDREN_MAX = 1_000;

export interface RunFile {
  readonly parent: JobSpec;
  readonly children: readonly { readonly key: string; readonly spec: JobSpec }[];
  readonly failurePolicy: FailurePolicy | undefined;
  readonly stopGraceMs: number | undefined;
}

type JsonRecord = Readonly<Record<string, unknown>>;

interface PlacedRecord {
  readonly place: string;
  readonly record: JsonRecord;
}

/** @throws CliError naming the job and the field, the key that nobody has, or the circle */
export function parseRunFile(content: string): RunFile {
  const { parent, children, failurePolicy, stopGraceMs } = readShape(content);
  if (children.length === 0) {
    throw usageError("The run has no children.", "Write at least one, or submit the job by itself.");
  }
  if (children.length > CHILDREN_MAX) {
    throw usageError(
      `The run has ${children.length} children; one call takes ${CHILDREN_MAX}.`,
      "Let a child add the others before it reports (docs/runs.md).",
    );
  }
  const parentSpec = readParent(parent);
  const prefix = parentSpec.idempotencyKey || `run-${randomBytes(6).toString("hex")}`;
  const keys = keysOf(children);
  refuseCircle(children, keys);
  return {
    parent: parentSpec,
    children: children.map((child, at) => ({ key: keys[at] ?? "", spec: readChild(child, keys, prefix) })),
    failurePolicy,
    stopGraceMs,
  };
}

function readShape(content: string) {
  const document = asRecord(content);
  if (document?.parent === undefined) {
    const lines = content
      .split("\n")
      .flatMap((line, at) => (line.trim() === "" ? [] : [{ line, at: at + 1 }]));
    const [parent, ...children] = lines.map(({ line, at }) => ({
      place: `Line ${at}`,
      record: parseRecord(line, at),
    }));
    if (parent === undefined) throw usageError("There is no run in the file.", SHAPE);
    return { parent, children, failurePolicy: undefined, stopGraceMs: undefined };
  }
  const { parent, children, failurePolicy, stopGrace, ...others } = document;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw usageError(`There is no field "${unknown}" of a run.`, SHAPE);
  if (!Array.isArray(children)) throw usageError('"children" must be a list of jobs.', SHAPE);
  return {
    parent: { place: "parent", record: requireRecord(parent, "parent") },
    children: children.map((child: unknown, at): PlacedRecord => {
      const place = `children[${at}]`;
      return { place, record: requireRecord(child, place) };
    }),
    failurePolicy: readOptional("failurePolicy", failurePolicy, oneOf(FAILURE_POLICY_WORDS)),
    stopGraceMs: readOptional("stopGrace", stopGrace, parseDurationMs),
  };
}

const SHAPE =
  'Write {"parent":{"kind":"sum"},"children":[{"kind":"part","key":"a"}]}, or one job per line, the parent first.';

function readOptional<Value>(
  field: string,
  value: unknown,
  read: (word: string) => Value,
): Value | undefined {
  if (value === undefined) return undefined;
  try {
    return read(text(value));
  } catch (error) {
    throw fieldError("The run", field, error);
  }
}

/** Undefined when the text is no JSON object as a whole: then it may be one by line. */
function asRecord(content: string): JsonRecord | undefined {
  try {
    const value: unknown = JSON.parse(content);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function requireRecord(value: unknown, place: string): JsonRecord {
  if (!isRecord(value)) throw usageError(`${place} is not a JSON object.`, SHAPE);
  return value;
}

function readParent({ place, record }: PlacedRecord): JobSpec {
  for (const field of ["key", "after", "afterEnded"]) {
    if (record[field] !== undefined) {
      throw usageError(`${place}: a parent has no "${field}".`, "It waits for all its children by itself.");
    }
  }
  return readJob({ place, record }, (fields) => fields);
}

/** Key of each child; empty for none. */
function keysOf(children: readonly PlacedRecord[]): readonly string[] {
  const seen = new Map<string, string>();
  return children.map(({ place, record }) => {
    if (record.key === undefined) return "";
    try {
      const key = text(record.key);
      const other = seen.get(key);
      if (key === "" || other !== undefined) {
        throw new InvalidArgumentError(key === "" ? "it is empty." : `${other} has the key "${key}" too.`);
      }
      seen.set(key, place);
      return key;
    } catch (error) {
      throw fieldError(place, "key", error);
    }
  });
}

function readChild({ place, record }: PlacedRecord, keys: readonly string[], prefix: string): JobSpec {
  const { key, ...job } = record;
  if (key !== undefined && job.idempotencyKey !== undefined) {
    throw usageError(`${place}: "key" and "idempotencyKey" do not go together.`, "Leave one of them out.");
  }
  const qualify = (name: string) => {
    if (!keys.includes(name)) throw unknownKey(place, name, keys);
    return `${prefix}/${name}`;
  };
  return readJob({ place, record: job }, ({ after, afterEnded, ...fields }) => ({
    ...fields,
    ...(typeof key === "string" ? { idempotencyKey: qualify(key) } : {}),
    ...(after === undefined ? {} : { after: after.map(qualify) }),
    ...(afterEnded === undefined ? {} : { afterEnded: afterEnded.map(qualify) }),
  }));
}

/** A job with what undoes it. */
function readJob({ place, record }: PlacedRecord, adapt: (fields: JobFields) => JobFields): JobSpec {
  const { compensation, ...rest } = record;
  const job = readJobRecord(rest, place);
  if (job.kind === undefined) {
    throw usageError(`${place} names no kind.`, 'Write "kind" into it: it says which handler runs the job.');
  }
  const spec = jobSpec(job.kind, job.payload, adapt(job.fields));
  if (compensation !== undefined) {
    const within = `${place}.compensation`;
    const { onRunFailure = false, ...undo } = requireRecord(compensation, within);
    if (typeof onRunFailure !== "boolean") {
      throw usageError(
        `${within}, field "onRunFailure": true or false is expected.`,
        "Correct it and submit again.",
      );
    }
    const undoing = readJob({ place: within, record: undo }, (fields) => fields);
    spec.compensation = create(CompensationSchema, { job: undoing, onRunFailure });
  }
  return spec;
}

function unknownKey(place: string, name: string, keys: readonly string[]) {
  const known = keys.filter((key) => key !== "");
  const shown = known.length > 12 ? `${known.slice(0, 12).join(", ")}, …` : known.join(", ");
  return usageError(
    `${place} waits for "${name}", and no child has that key.`,
    known.length === 0 ? 'Give that child a "key".' : `The keys are ${shown}.`,
  );
}

function refuseCircle(children: readonly PlacedRecord[], keys: readonly string[]): void {
  const waitsFor = new Map(
    children.map(({ place, record }, at) => {
      const names = [record.after, record.afterEnded].flatMap((list) => (Array.isArray(list) ? list : []));
      return [keys[at] || place, names.filter((name) => typeof name === "string") as string[]];
    }),
  );
  const circle = circleIn(waitsFor);
  if (circle !== undefined) {
    throw usageError(
      `These children wait for each other: ${circle.join(" → ")}.`,
      "Leave one of the waits out.",
    );
  }
}

/** Takes away who waits for nobody until nobody is left, or only those who wait for each other. */
function circleIn(waitsFor: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const left = new Map(waitsFor);
  for (let size = -1; size !== left.size; ) {
    size = left.size;
    for (const [name, others] of left) {
      if (!others.some((other) => left.has(other))) left.delete(name);
    }
  }
  const path: string[] = [];
  let at = left.keys().next().value;
  while (at !== undefined && !path.includes(at)) {
    path.push(at);
    at = left.get(at)?.find((other) => left.has(other));
  }
  return at === undefined ? undefined : [...path.slice(path.indexOf(at)), at];
}
