import type { JobSpec } from "../domain/job-spec.js";
import { type Lane, type LaneKey, laneKeyOf, laneKeyText } from "../domain/lane.js";
import type { Principal } from "../domain/scope.js";
import type { KeyWeight, KnownLane } from "../ledger/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import { requireKinds } from "./access.js";

/** A lane may commit after others with higher numbers, but not after this many. */
const laneIdsInDoubt = 1_000;

type LanesLedger = Pick<
  Ledger,
  "listLanes" | "listLanesAfter" | "ensureLane" | "declareWeights" | "readNewWeights"
>;

/** Every lane that the ledger knows, by number and by key. Lanes are made on first use and never unmade. */
export class LaneBook {
  readonly #ledger: LanesLedger;
  readonly #lanesPerTenantMax: number;
  readonly #byId = new Map<number, Lane>();
  readonly #byKey = new Map<string, Lane>();
  readonly #making = new Map<string, Promise<Lane>>();
  readonly #savedLowKeys = new Map<number, number>();
  /** Weights of fairness keys, by tenant and key. */
  readonly #weights = new Map<string, { readonly weight: number; readonly declaredAtMs: number }>();
  readonly #unsavedWeights = new Map<string, KeyWeight>();
  #onNew: (lane: Lane) => void = () => undefined;
  #onMade: (laneIds: readonly number[]) => void = () => undefined;
  #newestId = 0;

  constructor(ledger: LanesLedger, lanesPerTenantMax: number) {
    this.#ledger = ledger;
    this.#lanesPerTenantMax = lanesPerTenantMax;
  }

  async load(): Promise<void> {
    for (const known of await this.#ledger.listLanes()) this.#enter(known);
  }

  /** Called with each lane that becomes known after `load`. */
  onNewLane(listener: (lane: Lane) => void): void {
    this.#onNew = listener;
  }

  /** Called with the lanes that this hub was the first to use, as far as it knows. */
  onMade(listener: (laneIds: readonly number[]) => void): void {
    this.#onMade = listener;
  }

  /** Finds the lanes that other hubs made, and the weights that submits declared here and there. */
  async loadNew(): Promise<void> {
    for (const known of await this.#ledger.listLanesAfter(this.#newestId - laneIdsInDoubt))
      this.#enter(known);
    await this.#saveWeights();
    for (const declared of await this.#ledger.readNewWeights()) {
      const text = weightText(declared);
      if (!this.#unsavedWeights.has(text))
        this.#weights.set(text, { weight: declared.weight, declaredAtMs: Date.now() });
    }
  }

  /** The newest weight that was declared for the fairness key of a lane. */
  fairnessWeight(lane: LaneKey): number {
    return this.#weights.get(weightText(lane))?.weight ?? 1;
  }

  get size(): number {
    return this.#byId.size;
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

  /**
   * The lane that a tenant's job waits in, made in the ledger when it is new. The job's weight becomes that of its
   * fairness key.
   *
   * @throws Fault LANE_LIMIT
   */
  async laneFor(tenantId: number, spec: JobSpec): Promise<Lane> {
    const key = laneKeyOf(tenantId, spec);
    const { weight } = spec.fairness;
    if (key.fairnessKey !== "" && weight !== this.fairnessWeight(key)) this.#declare(key, weight);
    return this.#byKey.get(laneKeyText(key)) ?? (await this.#make(key, weight));
  }

  #make(key: LaneKey, weight: number): Promise<Lane> {
    const text = laneKeyText(key);
    const pending = this.#making.get(text);
    if (pending) return pending;
    const making = this.#ledger
      .ensureLane(key, weight, this.#lanesPerTenantMax)
      .then((pair) => {
        for (const known of pair) this.#enter(known);
        this.#onMade(pair.map(({ lane }) => lane.laneId));
        return this.#byKey.get(text) as Lane;
      })
      .finally(() => this.#making.delete(text));
    this.#making.set(text, making);
    return making;
  }

  #declare(key: LaneKey, weight: number): void {
    const { tenantId, fairnessKey } = key;
    this.#weights.set(weightText(key), { weight, declaredAtMs: Date.now() });
    this.#unsavedWeights.set(weightText(key), { tenantId, fairnessKey, weight });
  }

  /** All that were declared since the last time in one statement: however often submits change their minds. */
  async #saveWeights(): Promise<void> {
    const weights = [...this.#unsavedWeights.values()];
    if (weights.length === 0) return;
    await this.#ledger.declareWeights(weights);
    for (const declared of weights)
      if (this.#unsavedWeights.get(weightText(declared)) === declared)
        this.#unsavedWeights.delete(weightText(declared));
  }

  #enter({ lane, lowKey, fairnessWeight, weightDeclaredAtMs }: KnownLane): void {
    if (this.#byId.has(lane.laneId)) return;
    const isNewest = weightDeclaredAtMs >= (this.#weights.get(weightText(lane))?.declaredAtMs ?? 0);
    if (lane.fairnessKey !== "" && isNewest)
      this.#weights.set(weightText(lane), { weight: fairnessWeight, declaredAtMs: weightDeclaredAtMs });
    this.#byId.set(lane.laneId, lane);
    this.#newestId = Math.max(this.#newestId, lane.laneId);
    this.#savedLowKeys.set(lane.laneId, lowKey);
    if (!lane.isRetry) this.#byKey.set(laneKeyText(lane), lane);
    this.#onNew(lane);
  }
}

function weightText({ tenantId, fairnessKey }: Pick<LaneKey, "tenantId" | "fairnessKey">): string {
  return `${tenantId} ${fairnessKey}`;
}

/**
 * The lane that a principal's job waits in.
 *
 * @throws Fault KIND_NOT_ALLOWED, LANE_LIMIT
 */
export async function laneOf(book: LaneBook, principal: Principal, spec: JobSpec): Promise<Lane> {
  requireKinds(principal, [spec.kind]);
  return await book.laneFor(principal.tenantId, spec);
}
