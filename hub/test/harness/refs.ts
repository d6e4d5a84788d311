import type { Lane, Ref } from "../../src/domain/lane.js";

/** An id that says its number: readable in failures, in order of the numbers. */
export function idOf(number: number): string {
  return `01900000-0000-7000-8000-${String(number).padStart(12, "0")}`;
}

/** A ref whose id follows from its place. */
export function refAt(readyKey: number, overrides: Partial<Ref> = {}): Ref {
  return {
    jobId: idOf(readyKey),
    laneId: 1,
    readyKey,
    readyAtMs: readyKey,
    attempt: 0,
    bytes: 10,
    ...overrides,
  };
}

export function refsAt(readyKeys: readonly number[], overrides: Partial<Ref> = {}): Ref[] {
  return readyKeys.map((readyKey) => refAt(readyKey, overrides));
}

export function keysOf(refs: readonly Ref[]): number[] {
  return refs.map((ref) => ref.readyKey);
}

/** A lane that any worker of tenant 1 with a handler for "greet" can serve. */
export function laneOf(laneId: number, overrides: Partial<Lane> = {}): Lane {
  return {
    laneId,
    tenantId: 1,
    product: "default",
    queue: "default",
    kind: "greet",
    priority: 2,
    capabilities: [],
    source: "",
    fairnessKey: "",
    isRetry: false,
    retryLaneId: laneId + 1_000,
    ...overrides,
  };
}
