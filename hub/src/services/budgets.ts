// Budgets of products: limits of their own type, with a pause of their own and spend that comes from outside.
import { Fault } from "../domain/fault.js";
import { type BudgetSettings, GateType, targetText } from "../domain/gate.js";
import type { Operator } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { Accrual } from "../ledger/budgets.js";
import type { Ledger } from "../ledger/ledger.js";
import type { Limits, LimitView } from "./limits.js";

export class Budgets {
  readonly #ledger: Pick<Ledger, "accrueSpend">;
  readonly #limits: Limits;
  readonly #onAccrued: () => void;

  constructor(ledger: Pick<Ledger, "accrueSpend">, limits: Limits, onAccrued: () => void) {
    this.#ledger = ledger;
    this.#limits = limits;
    this.#onAccrued = onAccrued;
  }

  /**
   * What the window has spent stays, and so does a pause.
   *
   * @throws Fault LIMIT_COUNT, INVALID_FIELD
   */
  set(operator: Operator, product: string, settings: Omit<BudgetSettings, "isPaused">): Promise<LimitView> {
    const begun = { ...settings, isPaused: false, note: operator.reason };
    return this.#limits.set(operator, ofProduct(product), { type: GateType.Budget, settings: begun }, [
      "isPaused",
    ]);
  }

  /** @throws Fault LIMIT_NOT_FOUND */
  remove(operator: Operator, product: string): Promise<void> {
    return this.#limits.remove(operator, ofProduct(product), GateType.Budget);
  }

  /** @throws Fault LIMIT_NOT_FOUND */
  get(principal: Pick<Principal, "tenantId">, product: string): Promise<LimitView> {
    return this.#limits.get(principal, ofProduct(product), GateType.Budget);
  }

  list(principal: Principal, afterId: number, limit: number): Promise<readonly LimitView[]> {
    return this.#limits.list(principal, { type: GateType.Budget, shutOnly: false }, afterId, limit);
  }

  /** @throws Fault LIMIT_NOT_FOUND */
  pause(operator: Operator, product: string, isPaused: boolean): Promise<LimitView> {
    const change = { isPaused, note: operator.reason };
    return this.#limits.change(operator, ofProduct(product), GateType.Budget, change);
  }

  /**
   * Answers whether it was counted now, and not before.
   *
   * @throws Fault LIMIT_NOT_FOUND, IDEMPOTENCY_CONFLICT
   */
  async accrue(accrual: Accrual): Promise<boolean> {
    const result = await this.#ledger.accrueSpend(accrual);
    switch (result) {
      case "budget_not_found":
        throw new Fault("LIMIT_NOT_FOUND", `The product ${accrual.product} has no budget.`, {
          target: targetText(ofProduct(accrual.product)),
          type: "budget",
        });
      case "conflict":
        throw new Fault("IDEMPOTENCY_CONFLICT", "The request_id was used before for another spend.", {
          request_id: accrual.requestId,
        });
      case "accrued":
        this.#onAccrued();
        return true;
      case "duplicate":
        return false;
    }
  }
}

function ofProduct(product: string) {
  return { type: "product", product } as const;
}
