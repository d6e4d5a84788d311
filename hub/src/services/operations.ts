import type { OperationView } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";

/** What operators changed. */
export class Operations {
  readonly #ledger: Pick<Ledger, "listOperations">;

  constructor(ledger: Pick<Ledger, "listOperations">) {
    this.#ledger = ledger;
  }

  list(principal: Principal, target: string, beforeId: string, limit: number): Promise<OperationView[]> {
    return this.#ledger.listOperations(principal.tenantId, target, beforeId, limit);
  }
}
