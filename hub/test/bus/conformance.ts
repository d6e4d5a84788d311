import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Bus, type BusMessage, type BusObserver, busMessageBytesMax } from "../../src/bus/bus.js";

/** A bus with what a test does to it. */
export interface BusUnderTest {
  readonly bus: Bus;
  /** Takes it off the air, and waits until it knows. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

/** What every adapter of the bus port promises. */
export function describeBus(name: string, join: (observer: BusObserver) => Promise<BusUnderTest>): void {
  describe(`the ${name} bus`, () => {
    const hubs: Hub[] = [];

    interface Hub extends BusUnderTest {
      readonly heard: BusMessage[];
      readonly counts: Record<"sent" | "dropped" | "received" | "malformed", number>;
      resumptions: number;
    }

    async function open(): Promise<Hub> {
      const counts = { sent: 0, dropped: 0, received: 0, malformed: 0 };
      const count = (what: keyof typeof counts) => () => {
        counts[what] += 1;
      };
      const joined = await join({
        sent: count("sent"),
        dropped: count("dropped"),
        received: count("received"),
        malformed: count("malformed"),
      });
      const hub: Hub = { ...joined, heard: [], counts, resumptions: 0 };
      joined.bus.onMessage((message) => hub.heard.push(message));
      joined.bus.onResumed(() => {
        hub.resumptions += 1;
      });
      hubs.push(hub);
      return hub;
    }

    afterEach(async () => {
      await Promise.all(hubs.splice(0).map(({ bus }) => bus.close()));
    });

    const until = (condition: () => void) => vi.waitFor(condition, { timeout: 30_000, interval: 10 });

    /** Sends until it is heard by all: a hub that has just joined may not be listening yet. */
    async function untilHeard(from: Hub, to: readonly Hub[]): Promise<void> {
      const keyId = randomUUID();
      await until(() => {
        from.bus.publish({ type: "key_revoked", keyId });
        for (const hub of to) expect(hub.heard).toContainEqual({ type: "key_revoked", keyId });
      });
      for (const hub of to) hub.heard.length = 0;
    }

    it("brings a message to every other hub, once and in order, and not back to its sender", async () => {
      const [one, two, three] = [await open(), await open(), await open()];
      await untilHeard(one, [two, three]);
      const messages = Array.from({ length: 100 }, (_, at): BusMessage => ({ type: "wake", laneIds: [at] }));

      for (const message of messages) expect(one.bus.publish(message)).toBe(true);

      for (const hub of [two, three])
        await until(() => expect(hub.heard.filter(({ type }) => type === "wake")).toEqual(messages));
      expect(one.heard).toEqual([]);
    });

    it("brings every type of message over whole", async () => {
      const [one, two] = [await open(), await open()];
      await untilHeard(one, [two]);

      for (const message of everyMessage) one.bus.publish(message);

      await until(() => expect(two.heard.slice(-everyMessage.length)).toEqual(everyMessage));
    });

    it("has nobody to tell when it is alone, and takes messages all the same", async () => {
      const alone = await open();

      expect(alone.bus.publish({ type: "drain", hub: "a" })).toBe(true);
    });

    it("loses what is sent while a hub is away, and tells that hub when it is back", async () => {
      const [one, two] = [await open(), await open()];
      await untilHeard(one, [two]);

      await two.cut();
      expect(two.bus.publish({ type: "drain", hub: "two" })).toBe(false);
      one.bus.publish({ type: "drain", hub: "one" });
      await two.mend();

      await until(() => expect(two.resumptions).toBe(1));
      await untilHeard(one, [two]);
      expect([...one.heard, ...two.heard].filter(({ type }) => type === "drain")).toEqual([]);
      expect(two.counts.dropped).toBe(1);
    });

    it("drops a message that is too large, and goes on", async () => {
      const [one, two] = [await open(), await open()];
      await untilHeard(one, [two]);

      expect(one.bus.publish({ type: "drain", hub: "x".repeat(busMessageBytesMax) })).toBe(false);

      await untilHeard(one, [two]);
      expect(one.counts.dropped).toBe(1);
    });

    it("counts and ignores what is no message, or one of a newer version", async () => {
      const [one, two] = [await open(), await open()];
      await untilHeard(one, [two]);
      const nonsense = [{}, { type: "newer" }, { type: "wake" }, { type: "wake", laneIds: ["1"] }];

      for (const message of nonsense) one.bus.publish(message as BusMessage);

      await until(() => expect(two.counts.malformed).toBe(nonsense.length));
      expect(two.heard.filter(({ type }) => type !== "key_revoked")).toEqual([]);
      await untilHeard(one, [two]);
    });

    it("brings nothing to a hub that has left, and takes nothing from it", async () => {
      const [one, two] = [await open(), await open()];
      await untilHeard(one, [two]);

      await two.bus.close();
      await two.bus.close();

      one.bus.publish({ type: "drain", hub: "one" });
      const three = await open();
      await untilHeard(one, [three]);
      expect(two.heard.filter(({ type }) => type === "drain")).toEqual([]);
    });
  });
}

const sessionId = "01980000-0000-7000-8000-000000000001";
const jobId = "01980000-0000-7000-8000-000000000002";

/** One of each type. */
export const everyMessage: readonly BusMessage[] = [
  { type: "here", hub: "a", isWatching: true },
  { type: "drain", hub: "a" },
  {
    type: "revoke",
    leases: [
      {
        sessionId,
        jobId,
        fencingToken: 2n ** 62n,
        reason: "cancelled",
        graceMs: 1_500,
        message: "Bitte aufhören",
      },
      { sessionId, jobId, fencingToken: 1n, reason: "deadline", graceMs: 0, message: "" },
    ],
  },
  { type: "jobs_changed", jobIds: [jobId, sessionId] },
  { type: "any_job_changed" },
  { type: "wake", laneIds: [1, 2] },
  { type: "signals_stored", channelIds: [3, 4_000_000_000] },
  { type: "key_revoked", keyId: "4k2m9x0a7c1d" },
  { type: "config_changed", what: "keys" },
];
