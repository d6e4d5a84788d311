import { JobEventType } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService, type WatchResponse } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { duration, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const house = useHub({ watchesMax: 2 });
const { watch } = JobService.method;

const revisions = (updates: readonly WatchResponse[]) =>
  updates.flatMap(({ update }) => (update.case === "event" ? [update.value.revision] : []));

/** What a Watch says until it ends, and meanwhile what it said so far. */
function follow(targets: { jobId: string; afterRevision?: number }[]) {
  const updates: WatchResponse[] = [];
  const stream = house.client().serverStream(watch, { targets });
  const ended = (async () => {
    for await (const update of stream) updates.push(update);
  })();
  return { updates, ended, cancel: stream.cancel };
}

test("Watch tells the history, then what happens, then ends with the job; a resume begins after its revision (D20, D21)", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { retry: { initialBackoff: duration(50) } });
  const worker = await attachWorker(client);
  worker.credit(2);
  const first = await worker.lease();
  const { updates, ended } = follow([{ jobId }]);
  await until(() => updates.length === 2, "the history");
  await worker.report(first, failure("FLAKY"));
  await worker.succeed(await worker.lease());
  await ended;
  const types = updates.map(({ update }) => update.case === "event" && update.value.type);
  expect(types).toEqual([
    JobEventType.SUBMITTED,
    JobEventType.LEASED,
    JobEventType.RETRY_SCHEDULED,
    JobEventType.READY,
    JobEventType.LEASED,
    JobEventType.SUCCEEDED,
  ]);
  expect(revisions(updates)).toEqual([1, 2, 3, 4, 5, 6]);
  const resumed = follow([{ jobId, afterRevision: 4 }]);
  await resumed.ended;
  expect(revisions(resumed.updates)).toEqual([5, 6]);
  const nothingNew = follow([{ jobId, afterRevision: 6 }]);
  await nothingNew.ended;
  expect(nothingNew.updates).toEqual([]);
});

test("Watch shows progress, and follows several jobs until the last has ended", async () => {
  const client = house.client();
  const jobIds = await submitMany(client, [{ kind: "several" }, { kind: "several" }]);
  const { updates, ended } = follow(jobIds.map((jobId) => ({ jobId })));
  const worker = await attachWorker(client, { kinds: ["several"] });
  worker.credit(2);
  const [one, two] = [await worker.lease(), await worker.lease()];
  const { jobId, fencingToken } = one;
  worker.stream.send({
    case: "progress",
    value: { progress: [{ jobId, fencingToken, progress: { percent: 40, message: "so far" } }] },
  });
  await until(() => updates.some(({ update }) => update.case === "progress"), "progress");
  const seen = updates.find(({ update }) => update.case === "progress")?.update.value;
  expect(seen).toMatchObject({ jobId, progress: { percent: 40, message: "so far" } });
  await worker.succeed(one);
  await worker.succeed(two);
  await ended;
  for (const id of jobIds) {
    const own = updates.filter(({ update }) => update.case === "event" && update.value.jobId === id);
    expect(revisions(own)).toEqual([1, 2, 3]);
  }
});

test("a caller that is gone frees its Watch; beyond the limit a Watch is refused as STREAM_LIMIT", async () => {
  const client = house.client();
  const jobId = await submitOne(client, { kind: "unserved" });
  const watches = [follow([{ jobId }]), follow([{ jobId }])];
  await until(() => watches.every(({ updates }) => updates.length === 1), "both to be served");
  expect(await client.refused(watch, { targets: [{ jobId }] })).toMatchObject({
    code: 8,
    domain: "holdfast",
    reason: "STREAM_LIMIT",
    metadata: { limit: "watchesMax", value: "2" },
  });
  for (const { cancel, ended } of watches) {
    cancel();
    await ended.catch(() => undefined);
  }
  await until(async () => {
    const again = follow([{ jobId }]);
    const isServed = await Promise.race([
      again.ended.then(
        () => false,
        () => false,
      ),
      served(again.updates),
    ]);
    again.cancel();
    await again.ended.catch(() => undefined);
    return isServed;
  }, "room for a Watch");
});

async function served(updates: readonly WatchResponse[]): Promise<boolean> {
  await until(() => updates.length > 0, "an update");
  return true;
}
