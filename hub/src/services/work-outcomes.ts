import { serviceOutcome } from "../domain/breaker.js";
import { classOf, FailureClass } from "../domain/failure-class.js";
import type { Lane } from "../domain/lane.js";
import type { Outcome } from "../domain/outcome.js";
import type { Allowance } from "./allowance.js";
import type { GatedLanes } from "./lane-gates.js";
import type { HeldLease } from "./worker-session.js";

/** Tells the rate gates before a lane how its work ends. Lanes without such a gate cost one look into a map. */
export class WorkOutcomes {
  readonly #gates: Pick<GatedLanes, "ratesOf">;
  readonly #lane: (laneId: number) => Lane | undefined;

  constructor(gates: Pick<GatedLanes, "ratesOf">, lane: (laneId: number) => Lane | undefined) {
    this.#gates = gates;
    this.#lane = lane;
  }

  /** A result was committed. */
  ended(lease: HeldLease, outcome: Outcome): void {
    const rates = this.#ratesOf(lease);
    if (rates.length === 0 || outcome.type === "cancelled") return;
    let says: "answered" | "failed" | null = "answered";
    if (outcome.type === "failure") {
      const failureClass = classOf(outcome);
      says = serviceOutcome(failureClass);
      if (failureClass === FailureClass.RateLimited) this.#slowDown(rates, outcome.retryAfterMs);
    }
    if (says) for (const allowance of rates) allowance.noteOutcome(says, lease.grantedAtMs);
  }

  /** A handler says that the service asked to slow down, whatever becomes of its job. */
  throttled(lease: HeldLease, retryAfterMs: number): void {
    this.#slowDown(this.#ratesOf(lease), retryAfterMs);
  }

  #slowDown(rates: readonly Allowance[], retryAfterMs: number): void {
    const nowMs = performance.now();
    for (const allowance of rates) allowance.noteThrottled(retryAfterMs, nowMs);
  }

  #ratesOf({ laneId }: HeldLease): readonly Allowance[] {
    const lane = this.#lane(laneId);
    return lane ? this.#gates.ratesOf(lane) : [];
  }
}
