import { randomUUID } from "node:crypto";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { type EffectAct, EffectState } from "@holdfast/gen/holdfast/v1/effect_pb";
import { EffectService } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import { JobEventType, JobNoteType } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { beforeAll, describe, expect, test } from "vitest";
import type { RawClient } from "../harness/raw-client.js";
import { useHub } from "../harness/raw-hub.js";
import { duration, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, failure, type LeaseKey, type RawWorker } from "../harness/raw-worker.js";

const house = useHub();
const { claim, renew, complete, release, abandon, get, list } = EffectService.method;
const absent = "01980000-0000-7000-8000-000000000000";

let admin: RawClient;
let operator: RawClient;
let service: RawClient;
let reader: RawClient;
let stranger: RawClient;
beforeAll(async () => {
  const scopes = [
    "access:admin",
    "jobs:submit",
    "jobs:read",
    "jobs:operate",
    "jobs:cancel",
    "workers:attach",
  ];
  const { apiKey } = await house.client().call(AccessService.method.createKey, { subject: "line", scopes });
  admin = house.client({ apiKey });
  const clientOf = async (subject: string, scopes: string[], tenant = "") => {
    const made = await admin.call(AccessService.method.createKey, { subject, scopes, tenant });
    return house.client({ apiKey: made.apiKey });
  };
  operator = await clientOf("operator", ["jobs:operate", "jobs:read"]);
  service = await clientOf("till", ["effects:claim"]);
  reader = await clientOf("reader", ["jobs:read"]);
  stranger = await clientOf(
    "stranger",
    ["effects:claim", "jobs:read", "jobs:operate", "workers:attach"],
    "else",
  );
});

type ActInit = { [Case in NonNullable<EffectAct["act"]["case"]>]: { case: Case; value: object } }[NonNullable<
  EffectAct["act"]["case"]
>];

/** Sends an act and waits for its verdict. */
async function act(worker: RawWorker, lease: LeaseKey, key: string, init: ActInit, requestId = randomUUID()) {
  const { jobId, fencingToken } = lease;
  const value = { requestId, jobId, fencingToken, key, act: init as never };
  worker.stream.send({ case: "effect", value }, worker.delivered());
  return (await worker.stream.next("effectVerdict", (verdict) => verdict.requestId === requestId)).answer;
}

const claimFor = (ttlMs: number): ActInit => ({ case: "claim", value: { ttl: duration(ttlMs) } });
const completeWith = (effectToken: bigint, result: string): ActInit => ({
  case: "complete",
  value: { effectToken, result: Buffer.from(result), contentType: "text/plain" },
});
const scoped = (key: string) => ({ name: { owner: { case: "scope" as const, value: "shop" }, key } });

let kinds = 0;
/** A job in the hands of a worker, of a kind of its own. */
async function leased(): Promise<{ worker: RawWorker; lease: LeaseKey; kind: string }> {
  const kind = `kind-${++kinds}`;
  const retry = { maxAttempts: 5, initialBackoff: duration(0), factor: 1 };
  await submitOne(admin, { kind, retry });
  const worker = await attachWorker(admin, { kinds: [kind] });
  worker.credit(1);
  return { worker, lease: await worker.lease(), kind };
}

describe("on the lease stream", () => {
  test("an effect is claimed, renewed and completed; the next attempt is given the result (D16)", async () => {
    const { worker, lease } = await leased();

    expect(await act(worker, lease, "mail", claimFor(60_000))).toMatchObject({
      case: "acquired",
      value: { effectToken: 1n, takenOver: false, timeLeft: { seconds: 60n } },
    });
    expect(
      await act(worker, lease, "mail", { case: "renew", value: { effectToken: 1n, ttl: duration(90_000) } }),
    ).toMatchObject({ case: "renewed", value: { timeLeft: { seconds: 90n } } });
    expect(await act(worker, lease, "mail", completeWith(1n, "sent"))).toEqual(
      expect.objectContaining({ case: "written", value: expect.objectContaining({ existing: false }) }),
    );
    await worker.report(lease, failure("LATER"));
    worker.credit(1);
    const next = await worker.lease();

    expect(next.fencingToken).toBeGreaterThan(lease.fencingToken);
    expect(await act(worker, next, "mail", claimFor(60_000))).toMatchObject({
      case: "completed",
      value: { result: Buffer.from("sent"), contentType: "text/plain" },
    });
    const { history, notes, notesTruncated } = await admin.call(JobService.method.get, {
      jobId: lease.jobId,
      includeHistory: true,
      includeNotes: true,
    });
    expect(history.find(({ type }) => type === JobEventType.EFFECT_COMPLETED)?.reason).toBe("mail");
    expect(notes).toMatchObject([{ number: 1n, type: JobNoteType.EFFECT_COMPLETED, name: "mail", bytes: 4 }]);
    expect(notesTruncated).toBe(false);
    await worker.succeed(next);
    worker.vanish();
  });

  test("an act that is sent again under its request id is answered again (D16)", async () => {
    const { worker, lease } = await leased();
    const requestId = randomUUID();

    for (const _ of [1, 2])
      expect(await act(worker, lease, "mail", claimFor(60_000), requestId)).toMatchObject({
        case: "acquired",
        value: { effectToken: 1n },
      });
    expect((await act(worker, lease, "mail", claimFor(60_000))).case).toBe("held");
    for (const existing of [false, true])
      expect(await act(worker, lease, "mail", completeWith(1n, "sent"))).toMatchObject({
        case: "written",
        value: { existing },
      });
    worker.vanish();
  });

  test("the effect of a worker that vanished waits for its own lease, then is taken over; the former is refused (D17)", async () => {
    const { worker, lease, kind } = await leased();
    const claimedAt = performance.now();
    await act(worker, lease, "mail", claimFor(6_000));
    worker.vanish();
    const heir = await attachWorker(admin, { kinds: [kind] });
    heir.credit(1);
    const next = await heir.lease();

    const first = await act(heir, next, "mail", claimFor(60_000));
    const heldAt = performance.now();
    const over = await until(async () => {
      const answer = await act(heir, next, "mail", claimFor(60_000));
      return answer.case === "acquired" && answer.value;
    }, "the take-over");

    if (heldAt - claimedAt < 5_500) expect(first.case).toBe("held");
    expect(performance.now() - claimedAt).toBeGreaterThan(5_900);
    expect(over).toMatchObject({ effectToken: 2n, takenOver: true });
    // The former token, under the lease that stands; and the former lease.
    expect(await act(heir, next, "mail", completeWith(1n, "late"))).toMatchObject({
      case: "refused",
      value: { reason: "STALE_FENCE", metadata: { token: "effect_token", key: "mail" } },
    });
    expect(await act(heir, lease, "mail", completeWith(2n, "late"))).toMatchObject({
      case: "refused",
      value: { reason: "STALE_FENCE", metadata: { token: "fencing_token" } },
    });
    expect((await act(heir, next, "mail", completeWith(2n, "sent"))).case).toBe("written");
    await heir.succeed(next);
    heir.vanish();
  });

  test("what is wrong with one act is its verdict, and the stream goes on", async () => {
    const { worker, lease } = await leased();
    await act(worker, lease, "mail", claimFor(60_000));

    expect(await act(worker, lease, "mail", completeWith(1n, "x".repeat(65_537)))).toMatchObject({
      case: "refused",
      value: { reason: "PAYLOAD_TOO_LARGE", metadata: { limit: "effectResultBytesMax", value: "65536" } },
    });
    expect(await act(worker, lease, "mail", claimFor(99))).toMatchObject({
      case: "refused",
      value: { reason: "INVALID_FIELD", metadata: { field: "effect.claim.ttl" } },
    });
    expect(await act(worker, lease, "mail", { case: "renew", value: {} })).toMatchObject({
      case: "refused",
      value: { reason: "INVALID_FIELD", metadata: { field: "effect.renew.effect_token" } },
    });
    expect(await act(worker, lease, "mail", { case: "abandon", value: { effectToken: 1n } })).toMatchObject({
      case: "refused",
      value: { reason: "INVALID_FIELD", metadata: { field: "effect.abandon.reason" } },
    });
    expect(await act(worker, lease, "none", { case: "release", value: { effectToken: 1n } })).toMatchObject({
      case: "refused",
      value: { reason: "EFFECT_NOT_FOUND" },
    });
    const foreign = { jobId: absent, fencingToken: 1n };
    expect(await act(worker, foreign, "mail", claimFor(1_000))).toMatchObject({
      case: "refused",
      value: { reason: "JOB_NOT_FOUND", metadata: { job_id: absent } },
    });
    expect(await act(worker, lease, "mail", completeWith(1n, "x".repeat(65_536)))).toMatchObject({
      case: "written",
    });
    await worker.succeed(lease);
    worker.vanish();
  });

  test.each([
    ["no request id", { requestId: "" }],
    ["a job id that is none", { jobId: "nope" }],
    ["no key", { key: "" }],
    ["a key that is too long", { key: "k".repeat(257) }],
    ["no fencing token", { fencingToken: 0n }],
  ])("an act with %s ends the stream: its verdict could not name it", async (_, wrong) => {
    const worker = await attachWorker(admin);
    const good = { requestId: "r", jobId: absent, fencingToken: 1n, key: "mail" };
    worker.stream.send({ case: "effect", value: { ...good, act: { case: "claim", value: {} }, ...wrong } });

    expect(await worker.stream.ended).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
  });

  test("another tenant's worker cannot act on the effect of a job, and is not told that there is one", async () => {
    const { worker, lease } = await leased();
    await act(worker, lease, "mail", claimFor(60_000));
    const other = await attachWorker(stranger);

    for (const init of [claimFor(1_000), completeWith(1n, "mine")]) {
      const answer = await act(other, lease, "mail", init);
      expect(answer.case === "refused" && answer.value.reason).toBe(
        init.case === "claim" ? "JOB_NOT_FOUND" : "EFFECT_NOT_FOUND",
      );
    }
    expect(await act(worker, lease, "mail", completeWith(1n, "sent"))).toMatchObject({ case: "written" });
    await worker.succeed(lease);
    for (const one of [worker, other]) one.vanish();
  });
});

describe("by calls", () => {
  test("an effect of no job is claimed, held against others, given back, and completed (D16)", async () => {
    const one = scoped("charge-1");
    const first = await service.call(claim, { ...one, requestId: "a" });
    const repeated = await service.call(claim, { ...one, requestId: "a" });
    const other = await service.call(claim, { ...one, requestId: "b" });

    expect(first.answer).toMatchObject({ case: "acquired", value: { effectToken: 1n } });
    expect(repeated.answer).toEqual(expect.objectContaining({ case: "acquired" }));
    expect(other.answer).toMatchObject({ case: "held", value: { holder: { subject: "till" } } });
    await service.call(renew, { ...one, effectToken: 1n, ttl: duration(120_000) });
    await service.call(release, { ...one, effectToken: 1n });
    const second = await service.call(claim, { ...one, requestId: "c" });
    expect(second.answer).toMatchObject({ case: "acquired", value: { effectToken: 2n, takenOver: false } });
    const result = Buffer.from([1, 2]);
    const done = { ...one, effectToken: 2n, result };
    expect((await service.call(complete, done)).existing).toBe(false);
    expect((await service.call(complete, done)).existing).toBe(true);

    expect(await service.refused(complete, { ...done, result: Buffer.from([3]) })).toMatchObject({
      code: 9,
      reason: "EFFECT_COMPLETED",
    });
    expect(await service.refused(release, { ...one, effectToken: 2n })).toMatchObject({
      reason: "EFFECT_COMPLETED",
    });
    expect((await service.call(claim, { ...one, requestId: "d" })).answer).toMatchObject({
      case: "completed",
      value: { result },
    });
    expect((await reader.call(get, one)).effect).toMatchObject({
      state: EffectState.COMPLETED,
      result,
      resultBytes: 2,
      holder: { subject: "till", sessionId: "" },
    });
  });

  test("an effect of a job needs its lease, of a session of the caller's subject (D4)", async () => {
    const { worker, lease } = await leased();
    const { jobId, fencingToken } = lease;
    const name = { owner: { case: "jobId" as const, value: jobId }, key: "ticket" };

    expect(await service.refused(claim, { name, fencingToken, requestId: "a" })).toMatchObject({
      code: 10,
      reason: "STALE_FENCE",
      metadata: { token: "fencing_token" },
    });
    expect(
      await admin.refused(claim, { name, fencingToken: fencingToken + 1n, requestId: "a" }),
    ).toMatchObject({
      reason: "STALE_FENCE",
    });
    expect(await admin.refused(claim, { name, requestId: "a" })).toMatchObject({
      code: 3,
      metadata: { field: "fencing_token" },
    });
    expect((await admin.call(claim, { name, fencingToken, requestId: "a" })).answer.case).toBe("acquired");
    await admin.call(JobService.method.cancel, { jobId });
    expect(await admin.refused(complete, { name, fencingToken, effectToken: 1n })).toMatchObject({
      reason: "STALE_FENCE",
      metadata: { token: "fencing_token" },
    });
    expect((await reader.call(get, { name })).effect).toMatchObject({ state: EffectState.HELD });
    worker.vanish();
  });

  test("an operator takes an effect away, with a reason; others may not, and nobody once it is completed", async () => {
    const one = scoped("charge-2");
    await service.call(claim, { ...one, requestId: "a" });

    expect(await service.refused(abandon, { ...one, reason: "mine" })).toMatchObject({
      code: 7,
      reason: "SCOPE_MISSING",
    });
    expect(await operator.refused(abandon, { ...one, effectToken: 1n, reason: "x" })).toMatchObject({
      reason: "SCOPE_MISSING",
    });
    expect(await operator.refused(abandon, one)).toMatchObject({ code: 3, metadata: { field: "reason" } });
    const { effect } = await operator.call(abandon, { ...one, reason: "the till burnt down" });
    expect(effect).toMatchObject({
      state: EffectState.OPEN,
      abandonment: { by: "operator", reason: "the till burnt down" },
    });
    expect(await service.refused(complete, { ...one, effectToken: 1n })).toMatchObject({
      code: 10,
      reason: "STALE_FENCE",
      metadata: { token: "effect_token" },
    });
    expect((await operator.call(abandon, { ...one, reason: "again" })).effect?.abandonment?.reason).toBe(
      "the till burnt down",
    );
    await service.call(claim, { ...one, requestId: "b" });
    await service.call(complete, { ...one, effectToken: 2n });
    expect(await operator.refused(abandon, { ...one, reason: "too late" })).toMatchObject({
      reason: "EFFECT_COMPLETED",
    });
  });

  test("lists go by key and page; another tenant sees none of it, and nothing is found for it", async () => {
    for (const key of ["c", "a", "b"]) {
      const name = { owner: { case: "scope" as const, value: "listed" }, key };
      await service.call(claim, { name, requestId: key });
    }
    const owner = { owner: { case: "scope" as const, value: "listed" } };

    const first = await reader.call(list, { ...owner, pageSize: 2 });
    const second = await reader.call(list, { ...owner, pageSize: 2, pageToken: first.nextPageToken });

    expect([...first.effects, ...second.effects].map(({ name }) => name?.key)).toEqual(["a", "b", "c"]);
    expect(second.nextPageToken).toBe("");
    expect((await stranger.call(list, owner)).effects).toEqual([]);
    const name = { ...owner, key: "a" };
    for (const refused of [
      await stranger.refused(get, { name }),
      await stranger.refused(complete, { name, effectToken: 1n }),
      await stranger.refused(abandon, { name, reason: "mine" }),
    ])
      expect(refused).toMatchObject({ code: 5, reason: "EFFECT_NOT_FOUND" });
    expect((await stranger.call(claim, { name, requestId: "a" })).answer).toMatchObject({
      case: "acquired",
      value: { effectToken: 1n },
    });
  });

  test.each([
    ["claim without a name", claim, { requestId: "a" }, "name.owner"],
    ["claim without a request id", claim, scoped("x"), "request_id"],
    [
      "claim with a bad scope",
      claim,
      { name: { owner: { case: "scope", value: "No" }, key: "k" }, requestId: "a" },
      "name.scope",
    ],
    [
      "claim with a fencing token of no job",
      claim,
      { ...scoped("x"), requestId: "a", fencingToken: 1n },
      "fencing_token",
    ],
    ["claim for too long", claim, { ...scoped("x"), requestId: "a", ttl: duration(86_400_001) }, "ttl"],
    ["claim with NUL in its key", claim, { ...scoped("a\0b"), requestId: "a" }, "name.key"],
    ["complete without a token", complete, scoped("x"), "effect_token"],
    ["release with a negative token", release, { ...scoped("x"), effectToken: -1n }, "effect_token"],
  ] as const)("%s is INVALID_FIELD and names the field", async (_, method, request, field) => {
    expect(await service.refused(method as typeof claim, request as never)).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
      metadata: { field },
    });
  });

  test("a scope is needed for each call", async () => {
    for (const method of [claim, renew, complete, release, abandon])
      expect(await reader.refused(method as typeof claim, scoped("x") as never)).toMatchObject({
        reason: "SCOPE_MISSING",
      });
    for (const method of [get, list])
      expect(await service.refused(method as typeof get, scoped("x") as never)).toMatchObject({
        reason: "SCOPE_MISSING",
        metadata: { scope: "jobs:read" },
      });
  });
});
