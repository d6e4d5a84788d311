// Acts of operators on what holds work back and how it is shared: limits, budgets, products, schedules, backfills.
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BackfillService, type StartRequestSchema } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { BudgetService } from "@holdfast/gen/holdfast/v1/budget_service_pb";
import { BudgetWindow, LimitService, LimitType } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { ProductService } from "@holdfast/gen/holdfast/v1/product_service_pb";
import { ScheduleService, type ScheduleSpecSchema } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { expect } from "vitest";
import { fresh, justification, type OperatorAct, type OperatorDesk, planted } from "./operator-desk.js";
import { duration } from "./raw-jobs.js";

const limits = LimitService.method;
const budgets = BudgetService.method;
const products = ProductService.method;
const schedules = ScheduleService.method;
const backfills = BackfillService.method;

const hourMs = 3_600_000;
const payload = Buffer.from(planted);
const something = expect.any(Object) as unknown as JsonObject;
const pause = { settings: { case: "pause", value: {} } } as const;
const budget = { costMicroUsdMax: 10_000_000n, window: BudgetWindow.DAY };
const spec = {
  cadence: { cadence: { case: "interval", value: { every: duration(24 * hourMs) } } },
  job: { kind: "scheduled", payload },
} as MessageInitShape<typeof ScheduleSpecSchema>;

function backfillOf(source: string) {
  const [from, to] = ["2026-03-01T00:00:00Z", "2026-03-01T02:00:00Z"].map((at) =>
    timestampFromMs(Date.parse(at)),
  );
  const range = { source, from, to, step: duration(hourMs) };
  return { range, job: { kind: "backfilled", payload }, justification } as MessageInitShape<
    typeof StartRequestSchema
  >;
}

async function madeBudget(desk: OperatorDesk): Promise<string> {
  const product = fresh("product");
  await desk.client().call(budgets.set, { product, budget, justification });
  return product;
}

async function madeSchedule(desk: OperatorDesk): Promise<string> {
  const name = fresh("nightly");
  await desk.client().call(schedules.set, { name, spec, justification });
  return name;
}

async function madeBackfill(desk: OperatorDesk): Promise<string> {
  const { backfill } = await desk.client().call(backfills.start, backfillOf(fresh("source")));
  return backfill?.backfillId ?? "";
}

export function limitActs(desk: OperatorDesk): OperatorAct[] {
  return [
    {
      method: limits.set,
      action: "pause.set",
      scene: async () => {
        const product = fresh("product");
        const target = { target: { case: "product" as const, value: product } };
        return {
          act: desk.call(limits.set, { target, settings: pause, justification }),
          target: `product:${product}`,
          why: justification,
          before: undefined,
          after: something,
          isNewEachTime: true,
        };
      },
    },
    {
      method: limits.remove,
      action: "pause.remove",
      scene: async () => {
        const product = fresh("product");
        const target = { target: { case: "product" as const, value: product } };
        await desk.client().call(limits.set, { target, settings: pause, justification });
        return {
          act: desk.call(limits.remove, { target, type: LimitType.PAUSE, justification }),
          target: `product:${product}`,
          why: justification,
          before: something,
          after: undefined,
        };
      },
    },
    {
      method: budgets.set,
      action: "budget.set",
      scene: async () => {
        const product = fresh("product");
        return {
          act: desk.call(budgets.set, { product, budget, justification }),
          target: `product:${product}`,
          why: justification,
          before: undefined,
          after: something,
          isNewEachTime: true,
        };
      },
    },
    ...(["pause", "resume", "remove"] as const).map(
      (act): OperatorAct => ({
        method: budgets[act],
        action: act === "remove" ? "budget.remove" : "budget.set",
        scene: async () => {
          const product = await madeBudget(desk);
          return {
            act: desk.call(budgets[act] as typeof budgets.pause, { product, justification }),
            target: `product:${product}`,
            why: justification,
            before: something,
            after: act === "remove" ? undefined : something,
            isNewEachTime: true,
          };
        },
      }),
    ),
    {
      method: products.setWeights,
      action: "product.weights",
      scene: async () => {
        const name = fresh("product");
        return {
          act: desk.call(products.setWeights, { name, weights: { age: 3 }, justification }),
          target: `product:${name}`,
          why: justification,
          before: undefined,
          after: { age: 3 },
          isNewEachTime: true,
        };
      },
    },
    {
      method: schedules.set,
      action: "schedule.set",
      scene: async () => {
        const name = fresh("nightly");
        return {
          act: desk.call(schedules.set, { name, spec, justification }),
          target: `schedule:${name}`,
          why: justification,
          before: undefined,
          after: something,
          isNewEachTime: true,
        };
      },
    },
    ...(["pause", "resume", "delete", "trigger"] as const).map(
      (act): OperatorAct => ({
        method: schedules[act],
        action: `schedule.${act}`,
        scene: async () => {
          const name = await madeSchedule(desk);
          if (act === "resume") await desk.client().call(schedules.pause, { name, justification });
          return {
            act: desk.call(schedules[act] as typeof schedules.pause, { name, justification }),
            target: `schedule:${name}`,
            why: justification,
            before: act === "trigger" ? undefined : something,
            after: act === "delete" ? undefined : something,
            isNewEachTime: true,
          };
        },
      }),
    ),
    {
      method: backfills.start,
      action: "backfill.start",
      scene: async () => ({
        act: desk.call(backfills.start, backfillOf(fresh("source"))),
        target: null,
        why: justification,
        before: undefined,
        after: something,
        isNewEachTime: true,
      }),
    },
    ...(["pause", "resume", "cancel"] as const).map(
      (act): OperatorAct => ({
        method: backfills[act],
        action: `backfill.${act}`,
        scene: async () => {
          const backfillId = await madeBackfill(desk);
          if (act === "resume") await desk.client().call(backfills.pause, { backfillId, justification });
          return {
            act: desk.call(backfills[act] as typeof backfills.pause, { backfillId, justification }),
            target: `backfill:${backfillId}`,
            why: justification,
            before: something,
            after: something,
            isNewEachTime: true,
          };
        },
      }),
    ),
  ];
}
