import type { JobSpec, Priority } from "./job-spec.js";
import { type ScoreWeights, scoreWeightNames } from "./score-weights.js";

/**
 * What makes two waiting jobs alike to the scheduler but for their age. The kind belongs to it because a worker
 * only takes kinds that it has handlers for. Retried and returned jobs wait in the lane's retry twin, so they
 * never break the order of first starts.
 */
export interface LaneKey {
  readonly tenantId: number;
  readonly product: string;
  readonly queue: string;
  readonly kind: string;
  readonly priority: Priority;
  /** Sorted, without repetition. */
  readonly capabilities: readonly string[];
  /** What outside service the work calls; empty for none. */
  readonly source: string;
  /** Whose share of the service it takes; empty for nobody's in particular. */
  readonly fairnessKey: string;
}

/** The key of the lane that a tenant's job waits in. */
export function laneKeyOf(
  tenantId: number,
  spec: Pick<JobSpec, "product" | "queue" | "kind" | "priority" | "capabilities" | "source" | "fairness">,
): LaneKey {
  const { product, queue, kind, priority, capabilities, source, fairness } = spec;
  return { tenantId, product, queue, kind, priority, capabilities, source, fairnessKey: fairness.key };
}

/** A lane as the ledger numbered it. */
export interface Lane extends LaneKey {
  readonly laneId: number;
  readonly isRetry: boolean;
  /** The twin that retried jobs of this lane wait in; of a retry lane, itself. */
  readonly retryLaneId: number;
}

/** One text per lane key. Names cannot hold the separators. */
export function laneKeyText(key: LaneKey): string {
  const { tenantId, product, queue, kind, priority, capabilities, source, fairnessKey } = key;
  return `${tenantId} ${product} ${queue} ${kind} ${priority} ${capabilities.join(",")} ${source} ${fairnessKey}`;
}

/** Which jobs a worker can take: from its credential and its hello. Empty products or queues mean all. */
export interface WorkerProfile {
  readonly tenantId: number;
  readonly kinds: ReadonlySet<string>;
  readonly capabilities: ReadonlySet<string>;
  readonly products: ReadonlySet<string>;
  readonly queues: ReadonlySet<string>;
  /** Its own weights of the score, above those of products. */
  readonly weights: Partial<ScoreWeights>;
}

export function canServe(profile: WorkerProfile, lane: LaneKey): boolean {
  return (
    profile.tenantId === lane.tenantId &&
    profile.kinds.has(lane.kind) &&
    (profile.products.size === 0 || profile.products.has(lane.product)) &&
    (profile.queues.size === 0 || profile.queues.has(lane.queue)) &&
    lane.capabilities.every((capability) => profile.capabilities.has(capability))
  );
}

/** One text per profile: workers with the same profile compete for the same lanes. */
export function profileText(profile: WorkerProfile): string {
  const list = (set: ReadonlySet<string>) => [...set].sort().join(",");
  return [
    profile.tenantId,
    list(profile.kinds),
    list(profile.capabilities),
    list(profile.products),
    list(profile.queues),
    scoreWeightNames.map((name) => profile.weights[name] ?? "").join(","),
  ].join("/");
}

/** A job waiting in a lane: its id and what ordering needs, never its payload. */
export interface Ref {
  readonly jobId: string;
  readonly laneId: number;
  /** Place in the lane: rises in order of readiness, in microseconds since 1970. */
  readonly readyKey: number;
  /** Since when it waits, milliseconds since 1970; ages score. */
  readonly readyAtMs: number;
  /** Starts so far. */
  readonly attempt: number;
  /** Bytes of payload and checkpoint: what a lease of it costs in credit. */
  readonly bytes: number;
}
