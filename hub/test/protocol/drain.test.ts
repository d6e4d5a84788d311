import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { expect, test } from "vitest";
import { useHub } from "../harness/raw-hub.js";
import { submitMany, submitOne } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";
import { attachWorker, keyOf } from "../harness/raw-worker.js";

const house = useHub();

test("a worker that drains gets no new leases, reports what it holds, closes, and its session is closed at once", async () => {
  const client = house.client();
  await submitMany(client, [{ kind: "leaving" }, { kind: "leaving" }]);
  const worker = await attachWorker(client, { kinds: ["leaving"] });
  worker.credit(2);
  const held = [await worker.lease(), await worker.lease()];
  worker.credit(10);
  worker.stream.send({ case: "drain", value: {} }, worker.delivered());
  worker.credit(10);
  await worker.stream.next("heartbeat");
  const { sessionId } = worker.welcome;
  const { sessions } = await client.call(FleetService.method.listSessions, {});
  expect(sessions.find((session) => session.sessionId === sessionId)?.isDraining).toBe(true);
  const later = await submitOne(client, { kind: "leaving" });
  await worker.stream.next("heartbeat");
  await worker.stream.next("heartbeat");
  expect(worker.leases).toHaveLength(2);
  for (const lease of held) expect((await worker.succeed(lease)).verdict).toBe(Verdict.COMMITTED);
  worker.stream.halfClose();
  expect(await worker.stream.ended).toBeNull();
  await until(async () => {
    const [row] = await house.query("select state from session where session_id = $1", [sessionId]);
    return row?.state === 3;
  }, "the closed session");
  expect(await house.query("select from delivery where session_id = $1", [sessionId])).toEqual([]);
  const other = await attachWorker(client, { kinds: ["leaving"] });
  other.credit(1);
  expect((await other.lease()).jobId).toBe(later);
});

test("a result that is sent just before the worker half-closes still gets its verdict (D5)", async () => {
  const client = house.client();
  await submitOne(client, { kind: "last-word" });
  const worker = await attachWorker(client, { kinds: ["last-word"] });
  worker.credit(1);
  const verdict = worker.succeed(await worker.lease());
  worker.stream.halfClose();
  expect((await verdict).verdict).toBe(Verdict.COMMITTED);
  expect(await worker.stream.ended).toBeNull();
});

// Last: it stops the hub.
test("a hub that stops says so, takes results until the end, ends its streams, and loses nothing (D1, D5, D6)", async () => {
  const client = house.client();
  await submitMany(client, [{ kind: "staying" }, { kind: "staying" }]);
  const [polite, stubborn] = [
    await attachWorker(client, { kinds: ["staying"] }),
    await attachWorker(client, { kinds: ["staying"] }),
  ] as const;
  polite.credit(1);
  const first = await polite.lease();
  stubborn.credit(1);
  const second = await stubborn.lease();
  const restarted = house.restart();
  expect((await polite.stream.next("drain")).grace).toMatchObject({ seconds: 0n, nanos: 500_000_000 });
  await stubborn.stream.next("drain");
  expect((await polite.succeed(first)).verdict).toBe(Verdict.COMMITTED);
  polite.stream.halfClose();
  expect(await polite.stream.ended).toBeNull();
  expect(await stubborn.stream.ended).not.toBeNull();
  await restarted;
  const { sessionId } = stubborn.welcome;
  const back = await attachWorker(house.client(), { kinds: ["staying"], sessionId, held: [keyOf(second)] });
  expect(back.welcome.held).toMatchObject([{ jobId: second.jobId, kept: true }]);
  expect((await back.succeed(second)).verdict).toBe(Verdict.COMMITTED);
  expect((await back.succeed(first)).verdict).toBe(Verdict.DUPLICATE);
});
