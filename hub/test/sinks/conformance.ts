// What every sink must do, whatever is behind it.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ForwardedEvent, Outgoing } from "../../src/domain/forwarded-event.js";
import { JobEventType, JobState } from "../../src/domain/job-state.js";
import { type EventSink, SinkError } from "../../src/sinks/sink.js";

export interface SinkUnderTest {
  readonly sink: EventSink;
  /** Ids of everything that a reader finds in it, oldest first. */
  ids(): Promise<string[]>;
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  end(): Promise<void>;
}

let serial = 0;

export function outgoing(changes: Partial<ForwardedEvent> = {}): Outgoing {
  serial += 1;
  const event: ForwardedEvent = {
    eventId: `7-${serial}-1`,
    jobId: randomUUID(),
    type: JobEventType.Leased,
    state: JobState.Leased,
    revision: 2,
    attempt: 1,
    fencingToken: 1n,
    sessionId: null,
    reason: "",
    atMs: 0,
    tenant: "default",
    prior: null,
    ...changes,
  };
  return { type: "job", event };
}

const idsOf = (batch: readonly Outgoing[]) =>
  batch.map((one) => (one.type === "job" ? one.event.eventId : one.pages.eventId));

export function describeSink(name: string, open: () => Promise<SinkUnderTest>): void {
  describe(`the ${name} sink`, () => {
    let house: SinkUnderTest;
    beforeAll(async () => {
      house = await open();
    }, 600_000);
    afterAll(() => house?.end());

    it("holds every event of a batch once it has answered, batch after batch in order (D21)", async () => {
      const batches = [1, 300, 2].map((count) => Array.from({ length: count }, () => outgoing()));

      for (const batch of batches) {
        await house.sink.publish(batch);
        expect(await house.ids()).toEqual(expect.arrayContaining(idsOf(batch)));
      }

      const ids = await house.ids();
      const places = batches.map((batch) => idsOf(batch).map((id) => ids.indexOf(id)));
      expect(Math.max(...(places[0] as number[]))).toBeLessThan(Math.min(...(places[1] as number[])));
      expect(Math.max(...(places[1] as number[]))).toBeLessThan(Math.min(...(places[2] as number[])));
    });

    it("takes batches of two callers at once", async () => {
      const batches = [50, 60].map((count) => Array.from({ length: count }, () => outgoing()));

      await Promise.all(batches.map((batch) => house.sink.publish(batch)));

      expect(await house.ids()).toEqual(expect.arrayContaining(batches.flatMap(idsOf)));
    });

    it("takes what it has been given before, an empty batch, and what no tenant is known of", async () => {
      const batch = [outgoing({ tenant: null, reason: "two\r\nlines: ü" })];

      await house.sink.publish(batch);
      await house.sink.publish(batch);
      await house.sink.publish([]);

      expect(await house.ids()).toEqual(expect.arrayContaining(idsOf(batch)));
    });

    it("takes the announcement of dropped pages", async () => {
      const pages = { eventId: "9-4-dropped", writerId: 9, firstPage: 4, lastPage: 8, droppedAtMs: 0 };

      await house.sink.publish([{ type: "dropped", pages }]);

      expect(await house.ids()).toContain("9-4-dropped");
    });

    it("refuses while it is away, and takes the same batch when it is back (D20)", async () => {
      const batch = Array.from({ length: 20 }, () => outgoing());
      await house.goAway();
      await expect(house.sink.publish(batch)).rejects.toBeInstanceOf(SinkError);
      await house.comeBack();

      await expect
        .poll(() => house.sink.publish(batch).then(() => true, String), { timeout: 20_000 })
        .toBe(true);

      expect(await house.ids()).toEqual(expect.arrayContaining(idsOf(batch)));
    });

    it("refuses a batch that is on its way when it is closed, or says that it is durable", async () => {
      const batch = Array.from({ length: 50 }, () => outgoing());
      const publishing = house.sink.publish(batch).then(
        () => "durable",
        () => "refused",
      );

      await house.sink.close();

      expect(["durable", "refused"]).toContain(await publishing);
    });
  });
}
