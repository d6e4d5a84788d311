import { type JsonObject, toJson } from "@bufbuild/protobuf";
import {
  type DeadLetter,
  type DeadLetterCluster,
  DeadLetterClusterSchema,
  DeadLetterSchema,
} from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { FailureClass, FailureClassSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { JSON_OPTIONS } from "./job-json.js";
import { relative, time } from "./job-text.js";
import type { Paint } from "./paint.js";
import { formatFields } from "./table.js";

/** The words for classes of failures: "rate-limited". */
export const FAILURE_CLASS_WORDS: Readonly<Record<string, FailureClass>> = Object.fromEntries(
  FailureClassSchema.values
    .filter(({ number }) => number !== FailureClass.UNSPECIFIED)
    .map(({ localName, number }) => [localName.toLowerCase().replaceAll("_", "-"), number]),
);

export function classWord(failureClass: FailureClass): string {
  const word = Object.entries(FAILURE_CLASS_WORDS).find(([, value]) => value === failureClass)?.[0];
  return word ?? `unknown (${failureClass})`;
}

export const DEAD_HEADINGS = ["JOB", "KIND", "DIED", "CLASS", "FINGERPRINT", "FAILURE"] as const;

export function deadRow(letter: DeadLetter, nowMs: number, paint: Paint): string[] {
  const resolved = letter.resolution === undefined ? "" : paint.good(`resolved: ${letter.resolution.note} `);
  return [
    letter.jobId,
    letter.kind,
    relative(letter.diedAt, nowMs),
    classWord(letter.failureClass),
    letter.fingerprint,
    shortened(`${resolved}${letter.failure?.code ?? ""}: ${letter.failure?.message ?? ""}`),
  ];
}

/** One dead letter in full. */
export function deadText(letter: DeadLetter, nowMs: number, paint: Paint): string {
  const { failure, resolution } = letter;
  return formatFields(
    [
      ["job", paint.strong(letter.jobId)],
      ["kind", letter.kind],
      ["product", letter.product],
      ["queue", letter.queue],
      ["attempts", `${letter.attempt}/${letter.maxAttempts}`],
      ["submitted", time(letter.submittedAt, nowMs)],
      ["died", time(letter.diedAt, nowMs)],
      ["code", failure?.code],
      ["message", failure?.message],
      ["permanent", failure?.permanent === true ? "yes: its worker asked for no retry" : undefined],
      ["class", classWord(letter.failureClass)],
      ["fingerprint", letter.fingerprint],
      ["resolved", time(resolution?.at, nowMs)],
      ["by", resolution?.by || undefined],
      ["note", resolution?.note],
    ],
    paint,
  );
}

export function deadJson(letter: DeadLetter): JsonObject {
  return toJson(DeadLetterSchema, letter, JSON_OPTIONS) as JsonObject;
}

export const CLUSTER_HEADINGS = [
  "COUNT",
  "CLASS",
  "FINGERPRINT",
  "CODE",
  "NEWEST",
  "KINDS",
  "PATTERN",
] as const;

export function clusterRow(cluster: DeadLetterCluster, nowMs: number): string[] {
  return [
    String(cluster.count),
    classWord(cluster.failureClass),
    cluster.fingerprint,
    cluster.code,
    relative(cluster.newestDiedAt, nowMs),
    cluster.kinds.join(","),
    shortened(cluster.pattern),
  ];
}

export function clusterJson(cluster: DeadLetterCluster): JsonObject {
  return toJson(DeadLetterClusterSchema, cluster, JSON_OPTIONS) as JsonObject;
}

function shortened(text: string): string {
  const line = text.split("\n", 1)[0] ?? "";
  return line.length > 80 ? `${line.slice(0, 79)}…` : line;
}
