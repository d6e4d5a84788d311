import { BudgetService } from "@holdfast/gen/holdfast/v1/budget_service_pb";
import type { Budgets } from "../services/budgets.js";
import { checkName, checkPageSize, checkText, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { toSpend } from "./job-messages.js";
import { toBudget, toLimitMessage } from "./limit-messages.js";
import { toOperator } from "./operation-service.js";
import { decodePageNumber, encodePageToken } from "./page-token.js";

export function budgetService(budgets: Budgets): ImplementedService {
  return implement(BudgetService, {
    async set({ product, budget, justification }, { principal }) {
      if (!budget) throw invalid("budget", "is required");
      const operator = toOperator(principal, justification, "optional");
      const view = await budgets.set(operator, checkName("product", product), toBudget(budget, "budget"));
      return { limit: toLimitMessage(view) };
    },

    async remove({ product, justification }, { principal }) {
      await budgets.remove(toOperator(principal, justification, "optional"), checkName("product", product));
      return {};
    },

    async get({ product }, { principal }) {
      return { limit: toLimitMessage(await budgets.get(principal, checkName("product", product))) };
    },

    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["budgets", principal.tenantId];
      const after = request.pageToken ? decodePageNumber(request.pageToken, listed) : 0;
      const views = await budgets.list(principal, after, limit);
      const last = views.at(-1);
      return {
        limits: views.map(toLimitMessage),
        nextPageToken: views.length < limit || !last ? "" : encodePageToken(String(last.gate.gateId), listed),
      };
    },

    async pause({ product, justification }, { principal }) {
      const operator = toOperator(principal, justification, "optional");
      const view = await budgets.pause(operator, checkName("product", product), true);
      return { limit: toLimitMessage(view) };
    },

    async resume({ product, justification }, { principal }) {
      const operator = toOperator(principal, justification, "optional");
      const view = await budgets.pause(operator, checkName("product", product), false);
      return { limit: toLimitMessage(view) };
    },

    async accrueSpend({ requestId, product, spend, note }, { principal }) {
      const amounts = spend && toSpend(spend, "spend");
      if (!amounts || (amounts.costMicroUsd === 0 && amounts.tokens === 0))
        throw invalid("spend", "must be more than nothing");
      const isCounted = await budgets.accrue({
        tenantId: principal.tenantId,
        requestId: checkText("request_id", requestId, 128, 1),
        product: checkName("product", product),
        note: checkText("note", note, 1024),
        ...amounts,
      });
      return { counted: isCounted };
    },
  });
}
