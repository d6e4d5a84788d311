import { InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { getJob, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker } from "../harness/raw-worker.js";

const { list, retry, discard } = InboxService.method;
const under = useHub({ payloadBytesMax: 1_024 });

async function submitted(args: string): Promise<string> {
  return (await under.query<{ id: string }>(`select submit(${args}) as id`))[0]?.id as string;
}

async function refusedEntry(jobId: string) {
  const client = under.client();
  return await until(
    async () =>
      (await client.call(list, { refusedOnly: true })).entries.find((entry) => entry.jobId === jobId),
    "the refusal",
  );
}

describe("a job that was submitted from SQL", () => {
  it("is run like any other: leased to a worker that waits, in its lane behind older ones, or at its time", async () => {
    const client = under.client();
    const worker = await attachWorker(client);
    worker.credit(1);
    const direct = await submitted("'work', payload => '{\"n\": 1}'");

    const lease = await worker.lease();
    expect(lease).toMatchObject({ jobId: direct, contentType: "application/json" });
    await worker.succeed(lease);
    const older = await submitOne(client);
    const younger = await submitted("'work'");
    await until(async () => (await under.query("select from inbox")).length === 0, "the inbox to be empty");
    const later = await submitted("'work', run_at => now() + interval '1 hour'");
    await until(async () => (await under.query("select from inbox")).length === 0, "the inbox to be empty");
    expect(await getJob(client, later)).toMatchObject({ state: JobState.SCHEDULED });
    worker.credit(2);
    expect([(await worker.lease()).jobId, (await worker.lease()).jobId]).toEqual([older, younger]);
  });

  it("that a hub cannot take is kept with the reason; an operator retries or discards it", async () => {
    const client = under.client();
    const large = await submitted("'work', payload_bytes => repeat('x', 2000)::bytea");
    const kept = await refusedEntry(large);
    expect(kept).toMatchObject({ refusal: { reason: "PAYLOAD_TOO_LARGE" }, payloadBytes: 2_000 });

    await client.call(retry, { jobId: large });
    expect(await refusedEntry(large)).toMatchObject({ refusal: { reason: "PAYLOAD_TOO_LARGE" } });
    await client.call(discard, { jobId: large });

    expect((await client.call(list, {})).entries).toEqual([]);
    await expect(client.call(retry, { jobId: large })).rejects.toMatchObject({
      reason: "INBOX_ENTRY_NOT_FOUND",
    });
    await expect(client.call(discard, { jobId: uuidv7() })).rejects.toMatchObject({
      reason: "INBOX_ENTRY_NOT_FOUND",
    });
    await expect(client.call(discard, { jobId: "x" })).rejects.toMatchObject({ reason: "INVALID_FIELD" });
  });

  it("under a key that was used with other content is kept as a conflict that names the first job (D2)", async () => {
    const first = await submitOne(under.client(), { idempotencyKey: "order-1" });
    await submitted("'work', idempotency_key => 'order-1', payload => '1'");

    const [entry] = await until(async () => {
      const { entries } = await under.client().call(list, { refusedOnly: true });
      return entries.length > 0 && entries;
    }, "the refusal");

    expect(entry).toMatchObject({ refusal: { reason: "IDEMPOTENCY_CONFLICT", metadata: { job_id: first } } });
  });
});
