import { WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { beforeEach, expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, greeting } from "../harness/raw-worker.js";

const house = useHub({ sessionTtlMs: 60_000, heartbeatIntervalMs: 10_000 });
const { claim, renew } = WorkerService.method;

const writers = async () =>
  (await house.query<{ id: number }>("select writer_id as id from writer order by writer_id desc")).map(
    ({ id }) => id,
  );
const writerOf = async (sessionId: string) =>
  (
    await house.query<{ id: number }>("select writer_id as id from session where session_id = $1", [
      sessionId,
    ])
  )[0]?.id;

/** As another hub does that finds this one cut off: its connection is gone, and its writer number is ended. */
async function endLife(): Promise<void> {
  const [ended] = await writers();
  await house.query("update writer set ended_at = now() where writer_id = $1", [ended]);
  await house.query(
    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2",
    [0x486f6c64, ended],
  );
  await until(async () => {
    await submitOne(house.client(), { kind: "nobody's" }).catch(() => undefined);
    return (await writers())[0] !== ended;
  }, "the hub writes under a new number");
}

beforeEach(() => house.emptied());

test("a worker that calls goes on at a hub that writes under a new number (D3, D6)", async () => {
  const client = house.client();
  const worker = { ...greeting, kinds: ["called"] };
  const { sessionId } = await client.call(claim, { requestId: "1", worker, maxJobs: 1 });
  await endLife();

  const jobId = await submitOne(client, { kind: "called" });

  const wait = { seconds: 5n, nanos: 0 };
  const claimed = await client.call(claim, { requestId: "2", sessionId, maxJobs: 1, wait });
  expect(claimed.leases?.leases.map((lease) => lease.jobId)).toEqual([jobId]);
});

test("a heartbeat keeps a session at its hub when that writes under a new number: its stream goes on (D6)", async () => {
  const client = house.client();
  const worker = await attachWorker(client, { kinds: ["streamed"] });
  const { sessionId } = worker.welcome;
  await endLife();
  await until(
    async () => (await writerOf(sessionId)) === (await writers())[0],
    "the session is the new writer's",
  );

  worker.credit(1);
  const jobId = await submitOne(client, { kind: "streamed" });

  expect((await worker.lease()).jobId).toBe(jobId);
});

test("a session that another hub resumed stays there, whatever the former one renews (D6)", async () => {
  const client = house.client();
  const worker = { ...greeting, kinds: ["moved"] };
  const { sessionId } = await client.call(claim, { requestId: "1", worker, maxJobs: 1 });
  await house.query("update session set epoch = epoch + 1, writer_id = 1000 where session_id = $1", [
    sessionId,
  ]);

  await expect(client.call(renew, { sessionId })).rejects.toThrow();

  expect(await writerOf(sessionId)).toBe(1000);
});
