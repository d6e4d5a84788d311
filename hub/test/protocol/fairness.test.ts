import { WaitCause } from "@holdfast/gen/holdfast/v1/explain_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { getJob, type JobInit, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, type RawWorker } from "../harness/raw-worker.js";

const under = useHub();
const shared = (weight = 0): JobInit => ({
  source: "api.example/v2",
  fairness: { key: "Customer:42", weight },
});
const kept = (weight = 1) => ({ source: "api.example/v2", fairness: { key: "Customer:42", weight } });

describe("a job's source and fairness key", () => {
  it("are kept, however it was submitted", async () => {
    const client = under.client();
    const run = { kind: "work", ...shared() } as const;
    const { runId, childIds } = await client.call(JobService.method.submitRun, {
      parent: run,
      children: [run],
    });
    const [inSql] = await under.query<{ id: string }>(
      "select submit('work', source => 'api.example/v2', fairness_key => 'Customer:42') as id",
    );
    await until(async () => (await under.query("select from inbox")).length === 0, "the inbox to be empty");
    const undone = await submitOne(client, { compensation: { job: { kind: "undo", ...shared() } } });

    for (const jobId of [
      await submitOne(client, shared()),
      ...(await submitMany(client, [shared()])),
      inSql?.id ?? "",
      runId,
      ...childIds,
    ])
      expect(await getJob(client, jobId)).toMatchObject(kept());
    const [undo] = await under.query(
      `select l.kind, l.source, l.fairness_key from compensation c join lane l on l.lane_id = c.lane_id
       where c.job_id = '${undone}'`,
    );
    expect(undo).toEqual({ kind: "undo", source: "api.example/v2", fairness_key: "Customer:42" });
    expect(await getJob(client, undone)).toMatchObject({ source: "" });
  });

  it("make lanes of their own, in pairs; the newest weight that was declared for a key holds for all of its lanes", async () => {
    const client = under.client();
    const kind = "weighed";
    const first = await submitOne(client, { kind, ...shared(2) });
    await submitMany(
      client,
      [{}, { source: "api.example/v2" }, { fairness: { key: "Customer:42" } }].map((job) => ({
        kind,
        ...job,
      })),
    );
    await submitOne(client, { kind, ...shared(7) });

    await until(
      async () => (await getJob(client, first)).fairness?.weight === 7,
      "the ledger to know the weight",
    );
    const status = await client.call(FleetService.method.getStatus, {});
    const lanes = status.lanes.filter((lane) => lane.kind === kind);
    expect(lanes).toHaveLength(8);
    expect(lanes.filter(({ fairness }) => fairness?.weight === 7)).toHaveLength(4);
  });
});

/** The jobs that a worker is granted, each ended at once, in the order of the grants. */
async function workOff(worker: RawWorker, jobs: number): Promise<string[]> {
  const granted: string[] = [];
  worker.credit(20);
  while (granted.length < jobs) {
    const lease = await worker.lease();
    granted.push(lease.jobId);
    await worker.succeed(lease);
    worker.credit(1, 0);
  }
  return granted;
}

/** Submits so many jobs for each key; answers which job is whose. */
async function submitShared(
  kind: string,
  jobs: Readonly<Record<string, { readonly count: number; readonly weight?: number }>>,
): Promise<ReadonlyMap<string, string>> {
  const keyOf = new Map<string, string>();
  for (const [key, { count, weight = 1 }] of Object.entries(jobs))
    for (let from = 0; from < count; from += 500) {
      const part = Array.from({ length: Math.min(500, count - from) }, () => ({
        kind,
        fairness: { key, weight },
      }));
      for (const jobId of await submitMany(under.client(), part)) keyOf.set(jobId, key);
    }
  return keyOf;
}

const sharesOf = (granted: readonly string[], keyOf: ReadonlyMap<string, string>) => {
  const shares: Record<string, number> = {};
  for (const jobId of granted) {
    const key = keyOf.get(jobId) as string;
    shares[key] = (shares[key] ?? 0) + 1;
  }
  return shares;
};

describe("fairness keys", () => {
  it("get the same share each, within 5 %, while all have work, though one has 100 times the others' backlog", async () => {
    const kind = "shared";
    const others = Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`small-${at}`, { count: 60 }]));
    // The one with the large backlog came first: by age alone it would be served first.
    const keyOf = await submitShared(kind, { large: { count: 6_000 }, ...others });
    const worker = await attachWorker(under.client(), { kinds: [kind] });

    const granted = await workOff(worker, 500);

    const shares = sharesOf(granted, keyOf);
    expect(Object.keys(shares)).toHaveLength(10);
    for (const share of Object.values(shares)) {
      expect(share).toBeGreaterThanOrEqual(50 * 0.95);
      expect(share).toBeLessThanOrEqual(50 * 1.05);
    }
  });

  it("are named to who asks why a job waits: others take turns with its own", async () => {
    const kind = "explained";
    const keyOf = await submitShared(kind, { mine: { count: 2, weight: 2 }, yours: { count: 1, weight: 3 } });
    const second = [...keyOf.keys()][1] as string;
    await attachWorker(under.client(), { kinds: [kind] });

    const { reasons, position } = await under.client().call(JobService.method.explain, { jobId: second });

    expect(position).toMatchObject({ jobsAhead: 1, lanesAhead: 0, keysBeside: 1 });
    expect(reasons.map(({ cause }) => cause)).toEqual([
      WaitCause.NO_CREDIT,
      WaitCause.LANE,
      WaitCause.FAIR_SHARE,
    ]);
    expect(reasons.at(-1)?.message).toBe(
      "Fairness key mine takes turns with 1 others: 2 of 5 jobs are its own.",
    );
  });

  it("share by weight: 1 to 2 to 4", async () => {
    const kind = "weighted";
    const keyOf = await submitShared(kind, {
      one: { count: 100, weight: 1 },
      two: { count: 150, weight: 2 },
      four: { count: 250, weight: 4 },
    });
    const worker = await attachWorker(under.client(), { kinds: [kind] });

    const shares = sharesOf(await workOff(worker, 350), keyOf);

    const wanted: Readonly<Record<string, number>> = { one: 50, two: 100, four: 200 };
    for (const [key, jobs] of Object.entries(wanted)) {
      expect(shares[key]).toBeGreaterThanOrEqual(jobs * 0.95);
      expect(shares[key]).toBeLessThanOrEqual(jobs * 1.05);
    }
  });
});
