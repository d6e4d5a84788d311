import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { getJob, type JobInit, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";

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
