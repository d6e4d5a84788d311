// What the harness reads: JSON lines, a descriptor first, then samples. Pure: times come in as arguments.

const system = "holdfast";

/** Tables that jobs go through; the partitioned ones with the partitions that are there now. */
export interface DescriptorFacts {
  readonly eventTables: readonly string[];
  readonly version: string;
  readonly databaseUrl: string;
  readonly startedAtMs: number;
}

export function descriptorLine({ eventTables, version, databaseUrl, startedAtMs }: DescriptorFacts): string {
  return JSON.stringify({
    kind: "descriptor",
    system,
    event_tables: eventTables,
    extensions: [],
    version,
    db_name: decodeURIComponent(new URL(databaseUrl).pathname.slice(1)),
    started_at: new Date(startedAtMs).toISOString(),
  });
}

export interface Sample {
  readonly metric:
    | "claim_p50_ms"
    | "claim_p95_ms"
    | "claim_p99_ms"
    | "enqueue_rate"
    | "completion_rate"
    | "queue_depth";
  readonly value: number;
  /** Seconds that the value is about; 0: a moment. */
  readonly windowSeconds: number;
}

export function sampleLine(atMs: number, { metric, value, windowSeconds }: Sample): string {
  return JSON.stringify({
    t: new Date(atMs).toISOString(),
    system,
    kind: "adapter",
    subject_kind: "adapter",
    subject: "",
    metric,
    value,
    window_s: windowSeconds,
  });
}

/** The next moment that is a multiple of the interval by the wall clock, so that all subjects sample together. */
export function nextSampleAtMs(nowMs: number, everySeconds: number): number {
  const everyMs = everySeconds * 1_000;
  return (Math.floor(nowMs / everyMs) + 1) * everyMs;
}
