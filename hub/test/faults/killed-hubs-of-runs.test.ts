import { setTimeout as sleep } from "node:timers/promises";
import { createClient, type HoldfastClient, type JobInit, type RunInit } from "@holdfast/worker";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";

const runsCount = 40;
/** Which hub is killed when what part of all jobs has ended. */
const kills = [
  [0, 0.1],
  [1, 0.25],
  [2, 0.4],
  [0, 0.55],
] as const;
const endedJobs = "select count(*)::integer as count from job where state >= 6";
const openJobs = "select count(*)::integer as count from job where state < 6";
const undoing = "select count(*)::integer as count from compensation where made_job_id is not null";

/** A child: which of those before it it waits for, whether it fails, and whether it can be undone. */
const childArb = fc.record({
  after: fc.array(fc.tuple(fc.nat(1_000), fc.boolean()), { maxLength: 3 }),
  fails: fc.integer({ min: 0, max: 19 }).map((n) => n === 0),
  undo: fc.constantFrom("none", "on its own failure", "on the run's"),
});
const runArb = fc.record({
  children: fc.array(childArb, { minLength: 2, maxLength: 40, size: "max" }),
  added: fc.integer({ min: 0, max: 10 }),
  failurePolicy: fc.constantFrom("fail-fast" as const, "continue" as const, "wait-for-all" as const),
});
type Plan = typeof runArb extends fc.Arbitrary<infer Value> ? Value : never;

function childInit({ after, fails, undo }: Plan["children"][number], place: number, name: string): JobInit {
  const keys = new Map(place === 0 ? [] : after.map(([n, soft]) => [`${name}/${n % place}`, soft] as const));
  return {
    kind: "work",
    idempotencyKey: `${name}/${place}`,
    labels: fails ? { fails: "yes" } : {},
    dependsOn: [...keys].map(([idempotencyKey, soft]) => ({ idempotencyKey, soft })),
    ...(undo === "none"
      ? {}
      : { compensation: { job: { kind: "work" }, onRunFailure: undo === "on the run's" } }),
  };
}

/** Until a hub has answered: the parent's key makes it one run, however often it is submitted (D2). */
async function insist<Answer>(call: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!/UNAVAILABLE|HUB_|DEADLINE|CANCELLED|UNKNOWN/.test((error as { reason?: string }).reason ?? ""))
        throw error;
      await sleep(100);
    }
  }
}

/** Submits a run, some of its children after the others where its parent still waits; answers its jobs. */
async function submitPlan(client: HoldfastClient, plan: Plan, name: string): Promise<number> {
  const children = plan.children.map((child, place) => childInit(child, place, name));
  const first = Math.max(1, children.length - plan.added);
  const run: RunInit = {
    parent: { kind: "work", idempotencyKey: name },
    children: children.slice(0, first),
    failurePolicy: plan.failurePolicy,
    stopGraceMs: 2_000,
  };
  const { runId } = await insist(() => client.submitRun(run));
  if (first === children.length) return first + 1;
  const isAdded = await insist(() => client.addChildren(runId, children.slice(first))).then(
    () => true,
    (error: { reason?: string }) => {
      // Its first children were faster, or it is failing already: then nothing was added.
      if (/^(PARENT_NOT_WAITING|DEPENDENCY_FAILED)$/.test(error.reason ?? "")) return false;
      throw error;
    },
  );
  return 1 + (isAdded ? children.length : first);
}

test("while hubs are killed, jobs of random runs end once each, none before what it waits for, and parents after their children (D1, D2, D3, D5, D8, D20)", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const house = await openFaultHouse(3);
  const client = createClient({
    addresses: house.hubs.map(({ grpcAddress }) => grpcAddress),
    timeoutMs: 5_000,
  });
  for (const name of ["one", "two", "three"]) house.startWorker(name);
  const plans = fc.sample(runArb, { numRuns: runsCount, seed });
  const planned = plans.reduce((sum, { children }) => sum + children.length + 1, 0);
  let isSubmitted = false;
  const killing = (async () => {
    for (const [at, part] of kills) {
      await reached(async () => isSubmitted || (await house.count(endedJobs)) >= part * planned);
      house.hubs[at]?.kill("SIGKILL");
      await house.hubs[at]?.exited();
      await house.startHub(at);
    }
  })();

  const sizes: number[] = [];
  for (const [at, plan] of plans.entries()) sizes.push(await submitPlan(client, plan, `run-${at}`));
  isSubmitted = true;
  await killing;
  await reached(async () => (await house.count(openJobs)) === 0);
  client.close();

  const jobs = sizes.reduce((sum, size) => sum + size, await house.count(undoing));
  await checkContract(house.postgres.url, { jobs }).catch((cause: unknown) => {
    throw new Error(`with seed ${seed}`, { cause });
  });
  expect(await house.count("select count(*)::integer as count from run")).toBe(runsCount);
}, 240_000);

/** Looks until it is so; the test's own limit bounds it. PostgreSQL may be busy just now. */
async function reached(look: () => Promise<boolean>): Promise<void> {
  while (!(await look().catch(() => false))) await sleep(50);
}
