import type { JobSpec } from "../domain/job-spec.js";
import { type Lane, type LaneKey, laneKeyText } from "../domain/lane.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";
import { requireKinds } from "./access.js";

/** A lane may commit after others with higher numbers, but not after this many. */
const laneIdsInDoubt = 1_000;

/** Every lane that the ledger knows, by number and by key. Lanes are made on first use and never unmade. */
export class LaneBook {
  readonly #ledger: Pick<Ledger, "listLanes" | "listLanesAfter" | "ensureLane">;
  readonly #lanesPerTenantMax: number;
  readonly #byId = new Map<number, Lane>();
  readonly #byKey = new Map<string, Lane>();
  readonly #making = new Map<string, Promise<Lane>>();
  readonly #savedLowKeys = new Map<number, number>();
  #onNew: (lane: Lane) => void = () => undefined;
  #onMade: (laneIds: readonly number[]) => void = () => undefined;
  #newestId = 0;

  constructor(
    ledger: Pick<Ledger, "listLanes" | "listLanesAfter" | "ensureLane">,
    lanesPerTenantMax: number,
  ) {
    this.#ledger = ledger;
    this.#lanesPerTenantMax = lanesPerTenantMax;
  }

  async load(): Promise<void> {
    for (const known of await this.#ledger.listLanes()) this.#enter(known.lane, known.lowKey);
  }

  /** Called with each lane that becomes known after `load`. */
  onNewLane(listener: (lane: Lane) => void): void {
    this.#onNew = listener;
  }

  /** Called with the lanes that this hub was the first to use, as far as it knows. */
  onMade(listener: (laneIds: readonly number[]) => void): void {
    this.#onMade = listener;
  }

  /** Finds the lanes that other hubs made. */
  async loadNew(): Promise<void> {
    for (const known of await this.#ledger.listLanesAfter(this.#newestId - laneIdsInDoubt))
      this.#enter(known.lane, known.lowKey);
  }

  all(): IterableIterator<Lane> {
    return this.#byId.values();
  }

  get(laneId: number): Lane | undefined {
    return this.#byId.get(laneId);
  }

  /** Where the ledger said, when the lane became known, that waiting jobs begin. */
  savedLowKey(laneId: number): number {
    return this.#savedLowKeys.get(laneId) ?? 0;
  }

  /** The lane of a key, at once when it is known. */
  find(key: LaneKey): Lane | undefined {
    return this.#byKey.get(laneKeyText(key));
  }

  /**
   * The lane of a key, made in the ledger when it is new.
   *
   * @throws Fault LANE_LIMIT
   */
  make(key: LaneKey): Promise<Lane> {
    const text = laneKeyText(key);
    const pending = this.#making.get(text);
    if (pending) return pending;
    const making = this.#ledger
      .ensureLane(key, this.#lanesPerTenantMax)
      .then((pair) => {
        for (const known of pair) this.#enter(known.lane, known.lowKey);
        this.#onMade(pair.map(({ lane }) => lane.laneId));
        return this.#byKey.get(text) as Lane;
      })
      .finally(() => this.#making.delete(text));
    this.#making.set(text, making);
    return making;
  }

  #enter(lane: Lane, lowKey: number): void {
    if (this.#byId.has(lane.laneId)) return;
    this.#byId.set(lane.laneId, lane);
    this.#newestId = Math.max(this.#newestId, lane.laneId);
    this.#savedLowKeys.set(lane.laneId, lowKey);
    if (!lane.isRetry) this.#byKey.set(laneKeyText(lane), lane);
    this.#onNew(lane);
  }
}

/**
 * The lane that a principal's job waits in.
 *
 * @throws Fault KIND_NOT_ALLOWED, LANE_LIMIT
 */
export async function laneOf(book: LaneBook, principal: Principal, spec: JobSpec): Promise<Lane> {
  requireKinds(principal, [spec.kind]);
  const key: LaneKey = {
    tenantId: principal.tenantId,
    product: spec.product,
    queue: spec.queue,
    kind: spec.kind,
    priority: spec.priority,
    capabilities: spec.capabilities,
  };
  return book.find(key) ?? (await book.make(key));
}
