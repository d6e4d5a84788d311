// Limits, as operators set and see them. The ledger keeps them; this hub looks at once after a change, the others are
// told, and none can claim under what stood before.
import { Fault } from "../domain/fault.js";
import {
  type Gate,
  type GateSettings,
  type GateTarget,
  GateType,
  gateTypeName,
  type Hold,
  isMetered,
  targetText,
} from "../domain/gate.js";
import type { Lane } from "../domain/lane.js";
import type { ReadLevel } from "../domain/meter.js";
import type { Operator } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { LaneStats, Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { GateBook } from "./gate-book.js";
import type { LaneBook } from "./lane-book.js";
import type { GatedLanes } from "./lane-gates.js";
import type { Peers } from "./peers.js";

type LimitLedger = Pick<
  Ledger,
  "setGate" | "changeGate" | "removeGate" | "readParked" | "readMeterLevels" | "isTimeZone"
>;

const limitsPerTenantMax = 1_000;
/** Parked jobs are counted up to here. */
export const parkedCountMax = 10_000;
const waitingLanesMax = 50;

/** A gate and what waits at it. */
export interface LimitView {
  readonly gate: Gate;
  /** null while it is open. */
  readonly hold: Hold | null;
  /** How much is taken; null where nothing is metered. */
  readonly level: ReadLevel | null;
  readonly parkedJobs: number;
  readonly parkedSinceMs: number | null;
  readonly waiting: readonly {
    readonly lane: Lane;
    readonly stats: LaneStats;
    readonly headReadyAtMs: number | null;
  }[];
}

export interface LimitFilter {
  readonly type: GateType | null;
  readonly shutOnly: boolean;
}

export class Limits {
  readonly #ledger: LimitLedger;
  readonly #gates: GateBook;
  readonly #gated: GatedLanes;
  readonly #book: LaneBook;
  readonly #lanes: Lanes;
  readonly #peers: Pick<Peers, "configChanged">;

  constructor(
    ledger: LimitLedger,
    gates: GateBook,
    gated: GatedLanes,
    book: LaneBook,
    lanes: Lanes,
    peers: Pick<Peers, "configChanged">,
  ) {
    this.#ledger = ledger;
    this.#gates = gates;
    this.#gated = gated;
    this.#book = book;
    this.#lanes = lanes;
    this.#peers = peers;
  }

  /**
   * @param kept names of settings that a limit keeps which stands already
   * @throws Fault LIMIT_COUNT, INVALID_FIELD when the ledger does not know the time zone of a budget
   */
  async set(
    operator: Operator,
    target: GateTarget,
    settings: GateSettings,
    kept: readonly string[] = [],
  ): Promise<LimitView> {
    // The ledger turns the windows of budgets, in the claims of all their jobs.
    if (settings.type === GateType.Budget && !(await this.#ledger.isTimeZone(settings.settings.timeZone)))
      throw new Fault("INVALID_FIELD", "budget.time_zone must be a zone that the ledger knows.", {
        field: "budget.time_zone",
        rule: "must be a zone that the ledger knows",
      });
    const own = this.#ofTenant(operator.tenantId);
    if (!this.#find(operator.tenantId, target, settings.type) && own.length >= limitsPerTenantMax)
      throw new Fault("LIMIT_COUNT", `The tenant has ${limitsPerTenantMax} limits already.`, {
        limit: "limitsPerTenantMax",
        value: String(limitsPerTenantMax),
      });
    const action = setAction(settings.type);
    const gate = await this.#ledger.setGate(operator, action, target, settings, kept);
    await this.#changed();
    return await this.#view(gate);
  }

  /**
   * Changes some settings of a limit; the others are nobody's business here.
   *
   * @throws Fault LIMIT_NOT_FOUND
   */
  async change(
    operator: Operator,
    target: GateTarget,
    type: GateType,
    change: Partial<GateSettings["settings"]>,
  ): Promise<LimitView> {
    const gate = await this.#ledger.changeGate(operator, setAction(type), target, type, change);
    if (!gate) throw notFound(target, type);
    await this.#changed();
    return await this.#view(gate);
  }

  /** @throws Fault LIMIT_NOT_FOUND */
  async remove(operator: Operator, target: GateTarget, type: GateType): Promise<void> {
    const action = `${gateTypeName(type)}.remove`;
    if (!(await this.#ledger.removeGate(operator, action, target, type))) throw notFound(target, type);
    await this.#changed();
  }

  /** @throws Fault LIMIT_NOT_FOUND */
  async get(principal: Pick<Principal, "tenantId">, target: GateTarget, type: GateType): Promise<LimitView> {
    await this.#gates.load();
    const gate = this.#find(principal.tenantId, target, type);
    if (!gate) throw notFound(target, type);
    return await this.#view(gate);
  }

  async list(
    principal: Principal,
    filter: LimitFilter,
    afterId: number,
    limit: number,
  ): Promise<readonly LimitView[]> {
    await this.#gates.load();
    const chosen = this.#ofTenant(principal.tenantId)
      .filter((gate) => gate.gateId > afterId && (filter.type === null || gate.type === filter.type))
      .filter((gate) => !filter.shutOnly || this.#gated.holdAt(gate) !== null)
      .sort((a, b) => a.gateId - b.gateId)
      .slice(0, limit);
    return await this.#views(chosen);
  }

  #ofTenant(tenantId: number): Gate[] {
    return [...this.#gates.all()].filter((gate) => gate.tenantId === tenantId);
  }

  #find(tenantId: number, target: GateTarget, type: GateType): Gate | undefined {
    const text = targetText(target);
    return this.#ofTenant(tenantId).find((gate) => gate.type === type && targetText(gate.target) === text);
  }

  async #changed(): Promise<void> {
    await this.#gates.load();
    this.#peers.configChanged("gates");
  }

  async #view(gate: Gate): Promise<LimitView> {
    const [view] = await this.#views([gate]);
    return view as LimitView;
  }

  async #views(gates: readonly Gate[]): Promise<LimitView[]> {
    const parked = await this.#ledger.readParked(
      gates.map(({ gateId }) => gateId),
      parkedCountMax + 1,
    );
    const metered = gates.filter(isMetered).map(({ gateId }) => gateId);
    const levels = metered.length > 0 ? await this.#ledger.readMeterLevels(metered) : new Map();
    return gates.map((gate) => ({
      gate,
      hold: this.#gated.holdAt(gate),
      level: levels.get(gate.gateId) ?? null,
      parkedJobs: parked.get(gate.gateId)?.jobs ?? 0,
      parkedSinceMs: parked.get(gate.gateId)?.sinceMs ?? null,
      waiting: this.#waitingAt(gate),
    }));
  }

  #waitingAt(gate: Gate): LimitView["waiting"] {
    return [...this.#book.all()]
      .filter((lane) => this.#gated.gatesOf(lane).some(({ gateId }) => gateId === gate.gateId))
      .map((lane) => ({
        lane,
        stats: this.#lanes.stats(lane.laneId),
        headReadyAtMs: this.#lanes.head(lane.laneId)?.readyAtMs ?? null,
      }))
      .filter(({ stats }) => stats.window > 0 || stats.hasRest)
      .slice(0, waitingLanesMax);
  }
}

function setAction(type: GateType): string {
  return `${gateTypeName(type)}.set`;
}

function notFound(target: GateTarget, type: GateType): Fault {
  return new Fault("LIMIT_NOT_FOUND", `No ${gateTypeName(type)} stands before ${targetText(target)}.`, {
    target: targetText(target),
    type: gateTypeName(type),
  });
}
