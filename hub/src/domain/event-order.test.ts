import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutBatches, ForwardMarks, missingPrior } from "./event-order.js";
import type { ForwardedEvent } from "./forwarded-event.js";
import { JobEventType, JobState } from "./job-state.js";

function event(jobId: string, prior: { writerId: number; page: number } | null = null): ForwardedEvent {
  return {
    eventId: "1-1-1",
    jobId,
    type: JobEventType.Leased,
    state: JobState.Leased,
    revision: 1,
    attempt: 1,
    fencingToken: 1n,
    sessionId: null,
    reason: "",
    atMs: 0,
    tenant: "default",
    prior: prior && { ...prior, at: "" },
  };
}

describe("batches", () => {
  it("keep the order, are bounded, and hold no job twice (D21)", () => {
    const jobs = fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { maxLength: 60 });
    fc.assert(
      fc.property(jobs, fc.integer({ min: 1, max: 7 }), (ids, eventsMax) => {
        const events = ids.map((id) => event(id));

        const batches = cutBatches(events, eventsMax);

        expect(batches.flat()).toEqual(events);
        for (const batch of batches) {
          expect(batch.length).toBeGreaterThan(0);
          expect(batch.length).toBeLessThanOrEqual(eventsMax);
          expect(new Set(batch.map((one) => one.jobId)).size).toBe(batch.length);
        }
      }),
    );
  });
});

describe("what is known to be forwarded", () => {
  it("only rises", () => {
    const marks = new ForwardMarks(10);
    marks.note(7, 5);
    marks.note(7, 3);

    expect([5, 6].map((page) => marks.isForwarded({ writerId: 7, page, at: "" }))).toEqual([true, false]);
  });

  it("is bounded: what is forgotten counts as not forwarded, never the other way round", () => {
    const marks = new ForwardMarks(2);
    for (const writerId of [1, 2, 3]) marks.note(writerId, 9);

    expect(marks.isForwarded({ writerId: 1, page: 1, at: "" })).toBe(false);
    expect(marks.isForwarded({ writerId: 3, page: 9, at: "" })).toBe(true);
  });

  it.each([
    ["a job's first event needs nothing before it", null, null],
    ["an event of the own writer is out, or on its way before", { writerId: 1, page: 99 }, null],
    ["an event of another writer that is known to be out is out", { writerId: 2, page: 4 }, null],
    ["one that is not goes first", { writerId: 2, page: 5 }, { writerId: 2, page: 5, at: "" }],
  ])("%s", (_, prior, expected) => {
    const marks = new ForwardMarks(10);
    marks.note(2, 4);

    expect(missingPrior({ event: event("a", prior), before: [] }, 1, marks)).toEqual(expected);
  });
});
