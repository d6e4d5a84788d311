// What hubs that share lanes do to each other, and what NATS does to them: two hubs' lanes on one real nats-server.
import { setTimeout as delay } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import type { Ref } from "../../src/domain/lane.js";
import type { JetstreamLanesSettings } from "../../src/lanes/jetstream-lanes.js";
import type { NatsServer } from "../../src/nats/nats-server.js";
import { useNats } from "../harness/nats.js";
import { until } from "../harness/raw-wait.js";
import { keysOf, refAt, refsAt } from "../harness/refs.js";
import { openSharedLanes, type SharedLanes } from "../harness/shared-lanes.js";

const nats = useNats();
const laneId = 1;
const noLimit = Number.POSITIVE_INFINITY;
const hubs: SharedLanes[] = [];
let made = 0;

afterEach(async () => {
  await server().start();
  await Promise.all(hubs.splice(0).map((hub) => hub.close()));
});

function server(): NatsServer {
  return nats.servers()[0] as NatsServer;
}

/** So many hubs that share one stream, which none of them had to make. */
async function open(
  count: number,
  settings: Partial<JetstreamLanesSettings> = {},
): Promise<[SharedLanes, SharedLanes, string]> {
  made += 1;
  const prefix = `fleet-${made}`;
  await (await openSharedLanes(nats.url(), { prefix })).close();
  const opened: SharedLanes[] = [];
  for (let at = 0; at < count; at += 1)
    opened.push(await openSharedLanes(nats.url(), { youngMs: 0, ...settings, prefix }));
  hubs.push(...opened);
  return [opened[0] as SharedLanes, (opened[1] ?? opened[0]) as SharedLanes, prefix];
}

/** A hub whose sessions are hungry: takes refs until so many came, and claims each at once. */
async function claim({ lanes }: SharedLanes, count: number, jobsMax = 50): Promise<number[]> {
  const keys: number[] = [];
  await until(
    () => {
      if (lanes.head(laneId) === undefined) lanes.seek(laneId);
      const refs = lanes.take(laneId, jobsMax, noLimit);
      lanes.settle(refs);
      keys.push(...keysOf(refs));
      return keys.length >= count;
    },
    `${count} refs`,
    30_000,
  );
  return keys;
}

const many = (count: number, from = 1): Ref[] =>
  refsAt(Array.from({ length: count }, (_, at) => (from + at) * 10));

describe("hubs that share lanes", () => {
  it("hand what was offered at one to the hungry sessions of another, in order", async () => {
    const [one, other] = await open(2);

    one.lanes.offer(many(1_000));

    expect(await claim(other, 1_000)).toEqual(keysOf(many(1_000)));
    expect(other.moved.get("pulled")).toBe(1_000);
  });

  it("have each ref once between them, and both have some", async () => {
    const [one, other] = await open(2, { windowRefsLow: 100, refsPerMessageMax: 50, pullBytesMax: 8_192 });
    one.lanes.offer(many(5_000));
    const taken: number[][] = [[], []];

    await until(
      () => {
        for (const [at, { lanes }] of [one, other].entries()) {
          if (lanes.head(laneId) === undefined) lanes.seek(laneId);
          const refs = lanes.take(laneId, 20, noLimit);
          lanes.settle(refs);
          taken[at]?.push(...keysOf(refs));
        }
        return (taken[0]?.length ?? 0) + (taken[1]?.length ?? 0) >= 5_000;
      },
      "all refs",
      30_000,
    );

    expect(new Set(taken.flat()).size).toBe(5_000);
    expect(taken[0]?.length).toBeGreaterThan(500);
    expect(taken[1]?.length).toBeGreaterThan(500);
  });

  it("do not hoard: what no session of a hub takes comes to another that is hungry, and comes first", async () => {
    const [one, other] = await open(2);
    one.lanes.seek(laneId);
    one.lanes.offer(refsAt([10, 20, 30]));
    await until(() => one.lanes.head(laneId) !== undefined, "refs in a window");
    other.lanes.offer(refsAt([40]));

    expect(await claim(other, 4)).toEqual([10, 20, 30, 40]);
    expect(one.lanes.stats(laneId).window).toBe(0);
    expect(one.moved.get("handed_back")).toBeGreaterThanOrEqual(3);
  });

  it("do not give again what was settled of a message before the rest of it was handed back", async () => {
    const [one] = await open(1);
    one.lanes.offer(refsAt([10, 20, 30]));
    expect(await claim(one, 1, 1)).toEqual([10]);
    await until(() => (one.moved.get("handed_back") ?? 0) >= 2, "two refs handed back");

    expect(await claim(one, 2)).toEqual([20, 30]);
  });

  it("keep what a claim is on its way for, however long it takes", async () => {
    const [one, other] = await open(2, { ackWaitMs: 400 });
    one.lanes.offer(refsAt([10]));
    await until(() => {
      one.lanes.seek(laneId);
      return one.lanes.head(laneId) !== undefined;
    }, "a ref");
    const taken = one.lanes.take(laneId, 1, noLimit);

    for (let waited = 0; waited < 1_500; waited += 100) {
      other.lanes.seek(laneId);
      await delay(100);
    }
    expect(other.lanes.head(laneId)).toBeUndefined();

    one.lanes.giveBack(taken);
    expect(await claim(other, 1)).toEqual([10]);
  });

  it("get what a hub held that died (D9)", async () => {
    const [dying, other] = await open(2, { handBackAfterMs: 60_000, ackWaitMs: 500 });
    dying.lanes.offer(many(10));
    await until(() => {
      dying.lanes.seek(laneId);
      return dying.lanes.stats(laneId).window === 10;
    }, "a window");

    await dying.link.close();

    expect(await claim(other, 10)).toEqual(keysOf(many(10)));
    expect(other.moved.get("redelivered")).toBe(10);
  });

  it("leave nothing behind when a hub stops", async () => {
    const [one, other] = await open(2, { handBackAfterMs: 60_000 });
    one.lanes.offer(many(3));
    await until(() => {
      one.lanes.seek(laneId);
      return one.lanes.stats(laneId).window === 3;
    }, "a window");
    one.lanes.giveBack([refAt(5)]);
    const stoppedAt = performance.now();

    await one.lanes.stop();

    expect([...(await claim(other, 4))].sort((a, b) => a - b)).toEqual([5, 10, 20, 30]);
    expect(performance.now() - stoppedAt).toBeLessThan(4_000);
  });
});

describe("lanes whose NATS fails", () => {
  it("keep what was offered over a server that was killed and came back", async () => {
    const [one, other] = await open(2);
    one.lanes.offer(many(500));
    await until(() => one.moved.get("published") === 500, "published");

    await server().kill();
    await server().start();

    expect(await claim(other, 500)).toEqual(keysOf(many(500)));
  });

  it("block nobody while it is away: sessions of this hub have what is offered here at once, the ledger is asked for the rest", async () => {
    const [one, other] = await open(2);
    await server().kill();
    await until(() => one.link.state.status === "down" && other.link.state.status === "down", "NATS is down");

    one.lanes.seek(laneId);
    one.lanes.offer(many(3));
    other.lanes.offer(many(3, 4));

    expect(keysOf(one.lanes.take(laneId, 10, noLimit))).toEqual([10, 20, 30]);
    expect(one.lanes.seek(laneId)).toMatchObject({ afterKey: 0 });
    expect(other.lanes.wants(laneId)).toBeNull();
    other.lanes.seek(laneId);
    expect(other.lanes.wants(laneId)).toEqual({ afterKey: 39, throughKey: 60 });
  });

  it("hand over what was kept here while it was away, once it is back", async () => {
    const [one, other] = await open(2);
    await server().kill();
    await until(() => one.link.state.status === "down", "NATS is down");
    one.lanes.seek(laneId);
    one.lanes.offer(many(3));

    await server().start();

    expect(await claim(other, 3)).toEqual([10, 20, 30]);
  });

  it("ask the ledger for everything after the stream was wiped under them (D9)", async () => {
    const [one, other, prefix] = await open(2);
    one.lanes.offer(many(3));
    await until(() => one.moved.get("published") === 3, "published");
    const connection = await connect({ servers: nats.url().replace("nats://", "") });
    const before = Date.now() * 1_000;

    await (await jetstreamManager(connection)).streams.delete(`${prefix}_LANES`);
    await connection.close();

    for (const { lanes, lines } of [one, other]) {
      await until(
        () => {
          lanes.seek(laneId);
          return lanes.wants(laneId) !== null;
        },
        "a wish",
        20_000,
      );
      const stretch = lanes.wants(laneId);
      expect(stretch?.afterKey).toBe(0);
      expect(stretch?.throughKey).toBeGreaterThan(before);
      expect(lines.filter((line) => line.includes("was lost"))).toHaveLength(1);
    }
    one.lanes.offer(many(2, 8));
    expect(await claim(other, 2)).toEqual([80, 90]);
  });

  it("say once what rests on the stream", async () => {
    const [one] = await open(1);
    await server().kill();
    await until(() => one.link.state.status === "down", "NATS is down");
    one.lanes.seek(laneId);
    one.lanes.offer(refsAt([10]));
    await server().start();
    await until(() => (one.moved.get("published") ?? 0) === 1, "the stream again");

    expect(one.lines.filter((line) => line.startsWith("lanes are shared"))).toEqual([
      expect.stringMatching(/1 copy; .*sync_interval.*Nothing but speed rests on it/),
    ]);
  });
});
