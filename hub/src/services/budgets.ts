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
  async set(
    operator: Operator,
    product: string,
    settings: Omit<BudgetSettings, "isPaused">,
  ): Promise<LimitView> {
    const known = await this.#find(operator.tenantId, product);
    const isPaused = known?.isPaused ?? false;
    return this.#write(operator, product, { ...settings, isPaused }, operator.reason);
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
  async pause(operator: Operator, product: string, isPaused: boolean): Promise<LimitView> {
    const { gate } = await this.get(operator, product);
    return this.#write(
      operator,
      product,
      { ...(gate.settings as BudgetSettings), isPaused },
      operator.reason,
    );
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

  async #find(tenantId: number, product: string): Promise<BudgetSettings | null> {
    try {
      return (await this.get({ tenantId }, product)).gate.settings as BudgetSettings;
    } catch (error) {
      if (error instanceof Fault && error.reason === "LIMIT_NOT_FOUND") return null;
      throw error;
    }
  }

  #write(operator: Operator, product: string, settings: BudgetSettings, note: string): Promise<LimitView> {
    return this.#limits.set(operator, ofProduct(product), {
      type: GateType.Budget,
      settings: { ...settings, note },
    });
  }
}

function ofProduct(product: string) {
  return { type: "product", product } as const;
}
