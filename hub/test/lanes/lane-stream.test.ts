import { setTimeout as delay } from "node:timers/promises";
import { AckPolicy, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { useNats } from "../harness/nats.js";
import { until } from "../harness/raw-wait.js";
import { keysOf, refsAt } from "../harness/refs.js";
import { openSharedLanes, type SharedLanes } from "../harness/shared-lanes.js";

const laneId = 1;
const hubs: SharedLanes[] = [];
afterEach(async () => {
  await Promise.all(hubs.splice(0).map((hub) => hub.close()));
});

/** Sessions of the hub stay hungry: each time that the ledger is asked, it has nothing. */
async function asksTheLedger({ lanes }: SharedLanes, times: number): Promise<void> {
  for (let asked = 0; asked < times; asked += 1) {
    const stretch = await until(() => lanes.seek(laneId), "the ledger to be asked");
    lanes.beginFill(laneId, stretch);
    lanes.fill(laneId, [], true);
    await delay(200);
  }
}

describe("the stream of lanes in a cluster of three servers", () => {
  const nats = useNats({ serversCount: 3 });

  it("has three copies, and goes on when one server is killed", async () => {
    const hub = await openSharedLanes(nats.url(), { prefix: "three" });
    hubs.push(hub);
    expect(hub.lines.filter((line) => line.startsWith("lanes are shared"))).toEqual([
      expect.not.stringContaining("cop"),
    ]);
    hub.lanes.offer(refsAt([1, 2, 3]));
    await until(() => hub.moved.get("published") === 3, "published", 30_000);

    await nats.servers().at(-1)?.kill();

    await until(
      () => {
        hub.lanes.seek(laneId);
        return hub.lanes.stats(laneId).window === 3;
      },
      "the refs",
      60_000,
    );
    expect(keysOf(hub.lanes.take(laneId, 3, 1_000))).toEqual([1, 2, 3]);
    hub.lanes.settle(refsAt([1, 2, 3]));
    await nats.servers().at(-1)?.start();
  });

  it("leaves the work to the ledger when it has no majority, however long that lasts (D9)", async () => {
    const hub = await openSharedLanes(nats.url(), { prefix: "three", pullExpiresMs: 500 });
    hubs.push(hub);
    const { state } = hub.link;
    const own = state.status === "up" ? state.server : "";
    await asksTheLedger(hub, 1);

    await Promise.all(nats.servers().flatMap((server) => (server.url.endsWith(own) ? [] : [server.kill()])));
    // By then no server leads any more, a pull that stood open is over, and no other can be opened.
    const enoughAt = performance.now() + 25_000;
    while (performance.now() < enoughAt) await asksTheLedger(hub, 1);

    expect(hub.link.state.status).toBe("up");
  }, 200_000);
});

describe("the stream of lanes on one server", () => {
  const nats = useNats();

  it("says what is wrong when it has not the copies that it was asked for, and hubs go on", async () => {
    const lines: string[] = [];
    const opening = openSharedLanes(nats.url(), { prefix: "asked", replicas: 3 }, (line) => lines.push(line));
    await until(() => lines.some((line) => line.includes("cannot be opened")), "a warning", 30_000);

    const connection = await connect({ servers: nats.url().replace("nats://", "") });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({
      name: "asked_LANES",
      subjects: ["asked.lane.*"],
      retention: "workqueue",
    });
    await connection.close();

    hubs.push(await opening);
  });

  it("leaves a lane to the ledger whose consumer cannot be made (D9)", async () => {
    const hub = await openSharedLanes(nats.url(), { prefix: "taken" });
    hubs.push(hub);
    const connection = await connect({ servers: nats.url().replace("nats://", "") });
    const manager = await jetstreamManager(connection);
    const other = { durable_name: "other", filter_subject: "taken.lane.>", ack_policy: AckPolicy.Explicit };
    await manager.consumers.add("taken_LANES", other);
    await connection.close();

    await asksTheLedger(hub, 3);
  });

  it("keeps the consumer of a lane between hubs, and one for all of them", async () => {
    const connection = await connect({ servers: nats.url().replace("nats://", "") });
    for (let at = 0; at < 2; at += 1) {
      const hub = await openSharedLanes(nats.url(), { prefix: "one" });
      hubs.push(hub);
      hub.lanes.seek(laneId);
      hub.lanes.seek(2);
    }
    const manager = await jetstreamManager(connection);
    const names = async () =>
      (await manager.consumers.list("one_LANES").next()).map(({ name }) => name).sort();

    await until(async () => (await names()).length >= 2, "consumers");
    expect(await names()).toEqual(["lane-1", "lane-2"]);
    await connection.close();
  });
});
