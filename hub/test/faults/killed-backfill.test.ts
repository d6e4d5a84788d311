// Hubs that are killed while a schedule fires and a backfill runs.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { BackfillService } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { CatchUpPolicy, OverlapPolicy, ScheduleService } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { expect, test } from "vitest";
import { checkContract } from "../harness/processes-contract.js";
import { openFaultHouse } from "../harness/processes-house.js";
import { openRawClient } from "../harness/raw-client.js";
import { duration } from "../harness/raw-jobs.js";
import { until } from "../harness/raw-wait.js";

const windows = 1_200;
const minuteMs = 60_000;
const beginMs = Date.parse("2026-03-01T00:00:00Z");
const justification = { reason: "to be killed", ticket: "T-1" };

test("hubs killed in the middle of a backfill and a schedule run no window or time twice and leave none out (D1, D3)", async () => {
  const house = await openFaultHouse(2);
  house.startWorker("one", 0);
  const client = openRawClient(house.hub.grpcAddress);
  await client.call(ScheduleService.method.set, {
    name: "ticking",
    spec: {
      cadence: { cadence: { case: "interval", value: { every: duration(1_000) } } },
      job: { kind: "work" },
      overlap: OverlapPolicy.ALLOW,
      catchUp: CatchUpPolicy.ALL,
      eventSource: "ticks",
    },
    justification,
  });
  await client.call(BackfillService.method.start, {
    range: {
      source: "clicks",
      from: timestampFromMs(beginMs),
      to: timestampFromMs(beginMs + windows * minuteMs),
      step: duration(minuteMs),
    },
    job: { kind: "work" },
    inFlightMax: 100,
    justification,
  });
  client.close();
  const doneWindows = () =>
    house.count("select count(*)::integer as count from backfill_window where state = 3");

  for (let kills = 0; kills < 4; kills += 1) {
    await until(async () => (await doneWindows()) >= (kills + 1) * 200, "some windows are done");
    const hub = house.hubs[kills % 2];
    hub?.kill("SIGKILL");
    await hub?.exited();
    await house.startHub(kills % 2);
  }
  await until(async () => (await doneWindows()) === windows, "all windows are done");
  await until(
    async () => (await house.count("select count(*)::integer as count from backfill where state = 4")) === 1,
    "the backfill is finished",
  );
  await house.count("update schedule set paused_at = now(), pause_reason = '', revision = revision + 1");
  const fired = await house.count("select fired::integer as count from schedule");
  await house.succeeded(windows + fired);

  const jobs = "select count(*)::integer as count from job where options #>> '{window,source}' = $1";
  expect(await house.count(jobs, ["clicks"])).toBe(windows);
  expect(await house.count(jobs, ["ticks"])).toBe(fired);
  // No two jobs of a window, and no time between the first and the last without one.
  const distinct =
    "select count(distinct options #>> '{window,fromMs}')::integer as count from job where options #>> '{window,source}' = $1";
  expect(await house.count(distinct, ["clicks"])).toBe(windows);
  expect(await house.count(distinct, ["ticks"])).toBe(fired);
  expect(
    await house.count(
      `select ((max((options #>> '{window,toMs}')::bigint) - min((options #>> '{window,fromMs}')::bigint)) / 1000)::integer as count
       from job where options #>> '{window,source}' = 'ticks'`,
    ),
  ).toBe(fired);
  await checkContract(house.postgres.url, { jobs: windows + fired });
}, 120_000);
