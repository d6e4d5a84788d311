import { BudgetWindow, LimitType } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { withHub } from "./with-hub.js";

const target = { target: { case: "product", value: "shop" } } as const;
const budget = {
  ...{ costMicroUsdMax: 250_500_000n, tokensMax: 0n, window: BudgetWindow.DAY },
  ...{ timeZone: "Europe/Berlin", alertPercent: 75, paused: false },
};
const limit = {
  target,
  settings: { settings: { case: "budget" as const, value: budget } },
  use: {
    ...{ jobs: 2, held: { costMicroUsd: 1_250_000n, tokens: 0n } },
    spent: { costMicroUsd: 125n, tokens: 7n },
  },
};

test("budgets set takes money as people write it, and says what is held and spent", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    budgets: {
      set: (request) => {
        requests.push(request);
        return { limit };
      },
    },
  });
  const args = ["budgets", "set", "shop", "--cost", "250.5", "--window", "day", "--zone", "Europe/Berlin"];
  const { stdout, exitCode } = await cli(...args, "--alert", "75", "--reason", "agreed");

  expect(exitCode).toBe(EXIT.ok);
  expect(requests).toMatchObject([{ product: "shop", budget, justification: { reason: "agreed" } }]);
  expect(stdout).toMatch(/settings +250.50 USD a day Europe\/Berlin, alert at 75%\n/);
  expect(stdout).toMatch(/in flight +2\n/);
  expect(stdout).toMatch(/held +1.25 USD\n/);
  expect(stdout).toMatch(/spent +0.000125 USD, 7 tokens\n/);
});

test("budgets accrue makes a request id when none is given, and pause and resume say why", async () => {
  const requests: unknown[] = [];
  const keep = (request: unknown) => {
    requests.push(request);
    return { limit, counted: true };
  };
  const cli = await withHub({ budgets: { accrueSpend: keep, pause: keep, resume: keep } });

  const accrued = await cli("budgets", "accrue", "shop", "--cost", "12", "--tokens", "5", "--json");
  await cli("budgets", "pause", "shop", "--reason", "invoice");
  await cli("budgets", "resume", "shop");

  expect(JSON.parse(accrued.stdout)).toMatchObject({
    counted: true,
    requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect(requests).toMatchObject([
    { product: "shop", spend: { costMicroUsd: 12_000_000n, tokens: 5n } },
    { product: "shop", justification: { reason: "invoice" } },
    { product: "shop" },
  ]);
});

test("limits cap and seats are set before their targets", async () => {
  const requests: unknown[] = [];
  const cli = await withHub({
    limits: {
      set: (request) => {
        requests.push(request);
        return { limit: { target, settings: request.settings ?? {} } };
      },
      get: (request) => {
        requests.push(request);
        return { limit };
      },
    },
  });
  const cap = await cli("limits", "cap", "key:customer-7", "--jobs", "2");
  const seats = await cli("limits", "seats", "product:shop", "--max", "5", "--preemption", "--grace", "30s");
  await cli("limits", "get", "budget", "product:shop");

  expect(requests).toMatchObject([
    {
      target: { target: { case: "key", value: "customer-7" } },
      settings: { settings: { case: "cap", value: { jobsMax: 2 } } },
    },
    {
      target,
      settings: { settings: { case: "seats", value: { max: 5, preemption: true, grace: { seconds: 30n } } } },
    },
    { target, type: LimitType.BUDGET },
  ]);
  expect(cap.stdout).toMatch(/settings +2 jobs\n/);
  expect(seats.stdout).toMatch(/settings +5 seats, preemptive\n/);
});

test.each([
  ["budgets", "set", "shop", "--cost", "1,50"],
  ["budgets", "set", "shop", "--cost", "0.0000001"],
  ["budgets", "set", "shop", "--window", "week"],
  ["limits", "cap", "tenant", "--jobs", "0"],
  ["submit", "greet", "--in-flight-max", "2"],
])("%s %s %s %s %s is refused without a call", async (...args) => {
  const cli = await withHub({});
  const { exitCode, stderr } = await cli(...args);
  expect(exitCode).toBe(EXIT.usage);
  expect(stderr).not.toBe("");
});
