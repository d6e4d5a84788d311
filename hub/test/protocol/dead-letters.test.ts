import { DeadLetterService } from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { FailureClass, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, it } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { getJob, inMs, submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure } from "../harness/raw-worker.js";

const { list, get, listClusters, retry, resolve } = DeadLetterService.method;
const under = useHub();

/** Jobs of a kind of their own that died of these failures, in this order. */
async function died(kind: string, codes: readonly string[]): Promise<string[]> {
  const client = under.client();
  const ids = await submitMany(
    client,
    codes.map(() => ({ kind })),
  );
  const worker = await attachWorker(client, { kinds: [kind] });
  worker.credit(codes.length);
  for (const code of codes) await worker.report(await worker.lease(), failure(code, { permanent: true }));
  client.close();
  return ids;
}

describe("a dead letter", () => {
  it("is listed with its failure, its class and fingerprint; the newest death first, page by page", async () => {
    const client = under.client();
    const ids = await died("listed", ["HTTP_429", "HTTP_503", "PARSE_ERROR", "HTTP_503"]);
    const filter = { kind: "listed" };

    const first = await client.call(list, { filter, pageSize: 3 });
    const second = await client.call(list, { filter, pageSize: 3, pageToken: first.nextPageToken });

    const letters = [...first.letters, ...second.letters];
    expect(letters.map(({ jobId }) => jobId)).toEqual(ids.toReversed());
    expect(letters.at(-1)).toMatchObject({
      failureClass: FailureClass.RATE_LIMITED,
      fingerprint: expect.stringMatching(/^[0-9a-f]{12}$/),
      failure: { code: "HTTP_429", permanent: true },
      attempt: 1,
    });
    expect((await client.call(get, { jobId: ids[2] as string })).letter).toMatchObject({
      failureClass: FailureClass.PARSE_ERROR,
    });
    const by = async (more: object) =>
      (await client.call(list, { filter: { ...filter, ...more } })).letters.map(({ jobId }) => jobId);
    expect(await by({ failureClass: FailureClass.SERVER_ERROR })).toEqual([ids[3], ids[1]]);
    expect(await by({ fingerprint: letters[0]?.fingerprint as string })).toEqual([ids[3], ids[1]]);
    expect(await by({ code: "PARSE_ERROR" })).toEqual([ids[2]]);
    expect(await by({ diedBefore: inMs(-600_000) })).toEqual([]);
    expect(await by({ diedAfter: inMs(-600_000) })).toHaveLength(4);
    expect(await by({ product: "other" })).toEqual([]);
  });

  it("is grouped with those that died of the same", async () => {
    const client = under.client();
    const ids = await died("grouped", ["HTTP_429", "HTTP_503", "HTTP_503"]);

    const answer = await client.call(listClusters, { filter: { kind: "grouped" } });

    expect(answer).toMatchObject({
      letters: 3,
      truncated: false,
      clusters: [
        { code: "HTTP_503", count: 2, kinds: ["grouped"], sample: { jobId: ids[2] } },
        { code: "HTTP_429", count: 1 },
      ],
    });
  });

  it("is there whichever way the job died, and gone when it lives again", async () => {
    const client = under.client();
    const jobId = await submitOne(client, { kind: "late", deadline: inMs(50) });
    await until(async () => (await getJob(client, jobId)).state === JobState.DEAD, "the deadline");
    expect((await client.call(get, { jobId })).letter).toMatchObject({ failureClass: FailureClass.DEADLINE });

    await client.call(JobService.method.retry, { jobId });

    await expect(client.call(get, { jobId })).rejects.toMatchObject({ reason: "DEAD_LETTER_NOT_FOUND" });
  });

  it("is retried by filter, part by part, after a dry run that changed nothing", async () => {
    const client = under.client();
    const ids = await died("again", ["HTTP_503", "HTTP_503", "PARSE_ERROR", "HTTP_503"]);
    const filter = { kind: "again", failureClass: FailureClass.SERVER_ERROR };
    const target = { case: "filter" as const, value: filter };

    const dry = await client.call(retry, { target, dryRun: true, pageSize: 10 });
    expect(dry.results.map(({ jobId }) => jobId)).toEqual([ids[3], ids[1], ids[0]]);
    expect((await getJob(client, ids[0] as string)).state).toBe(JobState.DEAD);

    const first = await client.call(retry, { target, pageSize: 2, reason: "mended" });
    const { results, nextPageToken } = await client.call(retry, {
      target,
      pageSize: 2,
      pageToken: first.nextPageToken,
    });

    expect([...first.results, ...results].map(({ jobId }) => jobId)).toEqual([ids[3], ids[1], ids[0]]);
    expect(nextPageToken).toBe("");
    expect(await getJob(client, ids[0] as string)).toMatchObject({ state: JobState.READY, attempt: 0 });
    expect((await getJob(client, ids[2] as string)).state).toBe(JobState.DEAD);
    const worker = await attachWorker(client, { kinds: ["again"] });
    worker.credit(3);
    for (let at = 0; at < 3; at += 1) await worker.succeed(await worker.lease());
  });

  it("that is resolved stays visible with who and why, and is retried by its id only", async () => {
    const client = under.client();
    const [resolved, open] = (await died("resolved", ["HTTP_503", "HTTP_503"])) as [string, string];
    const missing = uuidv7();

    const answer = await client.call(resolve, { jobs: { jobIds: [resolved, missing] }, note: "not needed" });

    expect(answer.results).toMatchObject([
      { jobId: resolved },
      { jobId: missing, refused: { reason: "DEAD_LETTER_NOT_FOUND" } },
    ]);
    const filter = { kind: "resolved" };
    expect((await client.call(list, { filter })).letters.map(({ jobId }) => jobId)).toEqual([open]);
    const all = await client.call(list, { filter: { ...filter, withResolved: true } });
    expect(all.letters.map(({ resolution }) => resolution?.note)).toEqual([undefined, "not needed"]);
    const byFilter = await client.call(retry, { target: { case: "filter", value: filter } });
    expect(byFilter.results.map(({ jobId }) => jobId)).toEqual([open]);
    const jobs = { jobIds: [resolved, missing] };
    const byId = await client.call(retry, { target: { case: "jobs", value: jobs } });
    expect(byId.results).toMatchObject([
      { jobId: resolved },
      { jobId: missing, refused: { reason: "DEAD_LETTER_NOT_FOUND" } },
    ]);
    expect((await getJob(client, resolved)).state).toBe(JobState.READY);
  });

  it.each([
    ["retry", {}, "target"],
    ["retry", { target: { case: "jobs", value: { jobIds: [] } } }, "jobs.job_ids"],
    ["retry", { target: { case: "jobs", value: { jobIds: ["x"] } } }, "jobs.job_ids[0]"],
    ["retry", { target: { case: "filter", value: { withResolved: true } } }, "filter.with_resolved"],
    ["list", { filter: { fingerprint: "zz" } }, "filter.fingerprint"],
    ["list", { filter: { failureClass: 99 } }, "filter.failure_class"],
    ["list", { pageToken: "x" }, "page_token"],
    ["listClusters", { filter: { kind: "No" } }, "filter.kind"],
    ["resolve", { jobs: { jobIds: [uuidv7()] } }, "note"],
    ["get", { jobId: "x" }, "job_id"],
  ] as const)("%s of %j is refused, naming %s", async (method, request, field) => {
    const call = under.client().call as (method: unknown, request: unknown) => Promise<unknown>;
    await expect(call(DeadLetterService.method[method], request)).rejects.toMatchObject({
      reason: "INVALID_FIELD",
      metadata: { field },
    });
  });
});
