import type { ReadLevel } from "../domain/meter.js";
import type { BudgetNotice } from "../ledger/budgets.js";
import type { Ledger } from "../ledger/ledger.js";

/**
 * Tells operators that a budget is nearly spent, and that it is: once per window, whichever hub finds it first. The notice
 * is kept among the operations, counted and logged.
 */
export function budgetAlerts(
  ledger: Pick<Ledger, "tellBudget">,
  onTold: (notice: BudgetNotice, level: ReadLevel) => void,
): (levels: readonly ReadLevel[]) => Promise<void> {
  return async (levels) => {
    for (const level of levels) {
      const notice = noticeOf(level);
      if (notice && (await ledger.tellBudget(level, notice))) onTold(notice, level);
    }
  };
}

function noticeOf(level: ReadLevel): BudgetNotice | null {
  const { alertPercent, limits, isWarned, isExhausted } = level;
  if (alertPercent === null) return null;
  const isPast = (taken: number, max: number | null, percent: number) =>
    max !== null && BigInt(taken) * 100n >= BigInt(max) * BigInt(percent);
  const isTaken = (percent: number) =>
    isPast(level.cost, limits.costMax, percent) || isPast(level.tokens, limits.tokensMax, percent);
  if (!isWarned && isTaken(alertPercent)) return "nearly_spent";
  return !isExhausted && isTaken(100) ? "spent" : null;
}
