// A model of a fleet: writers commit pages over a few jobs, several hubs forward each writer at once, stop anywhere,
// lag and fail; whatever happens, who reads the sink and drops ids that it has seen gets every event, in order.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ForwardMarks } from "../domain/event-order.js";
import type { EventPage, ForwardedEvent, Outgoing, PagePlace } from "../domain/forwarded-event.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import type { ForwardClaim } from "../ledger/forward-cursors.js";
import type { EventSink } from "../sinks/sink.js";
import { type ForwardingParts, forwardNextPages } from "./page-forwarding.js";

/** One statement of a writer over these jobs; over none, a number that came to nothing. */
interface Commit {
  readonly writerId: number;
  readonly jobs: readonly string[];
}

const writers = [1, 2, 3];

class Model {
  readonly pages = new Map<number, EventPage[]>(writers.map((writerId) => [writerId, []]));
  readonly cursors = new Map<number, number>();
  readonly published: ForwardedEvent[] = [];
  readonly #heads = new Map<string, { revision: number; place: PagePlace }>();

  commit({ writerId, jobs }: Commit): void {
    const own = this.pages.get(writerId) as EventPage[];
    const place = { writerId, page: own.length + 1, at: "" };
    // A job may be in a page more than once: submitted and leased in one statement.
    const events = [...jobs].sort().map((jobId, at) => {
      const head = this.#heads.get(jobId);
      const revision = (head?.revision ?? 0) + 1;
      this.#heads.set(jobId, { revision, place });
      return {
        eventId: `${writerId}-${place.page}-${at + 1}`,
        jobId,
        type: JobEventType.Ready,
        state: JobState.Ready,
        revision,
        attempt: 0,
        fencingToken: 0n,
        sessionId: null,
        reason: "",
        atMs: 0,
        tenant: "default",
        prior: head && head.place !== place ? head.place : null,
      };
    });
    own.push({ place, events });
  }

  /** What a consumer keeps that drops ids which it has seen. */
  seen(): Map<string, number[]> {
    const ids = new Set<string>();
    const jobs = new Map<string, number[]>();
    for (const { eventId, jobId, revision } of this.published) {
      if (ids.has(eventId)) continue;
      ids.add(eventId);
      jobs.set(jobId, [...(jobs.get(jobId) ?? []), revision]);
    }
    return jobs;
  }

  expected(): Map<string, number[]> {
    return new Map(
      [...this.#heads].map(([jobId, { revision }]) => [
        jobId,
        Array.from({ length: revision }, (_, at) => at + 1),
      ]),
    );
  }

  /** The ledger and the sink as one hub sees them; `step` lets others go first, `fails` breaks a batch half-way. */
  hub(step: () => Promise<void>, fails: () => boolean): ForwardingParts {
    const { pages, cursors, published } = this;
    const eventsOf = (place: PagePlace, jobId: string) =>
      pages.get(place.writerId)?.[place.page - 1]?.events.filter((one) => one.jobId === jobId) ?? [];
    const sink: EventSink = {
      name: "model",
      async publish(batch: readonly Outgoing[]) {
        await step();
        const events = batch.flatMap((one) => (one.type === "job" ? [one.event] : []));
        // A batch may be stored in any order.
        const reached = fails() ? events.filter((_, at) => at % 2 === 0) : [...events];
        published.push(...reached.reverse());
        await step();
        if (reached.length < events.length) throw new Error("half of it is stored");
      },
      close: async () => undefined,
    };
    return {
      sink,
      marks: new ForwardMarks(2),
      batchEventsMax: 3,
      forwarded: () => undefined,
      ledger: {
        async readPages(after, pagesMax) {
          await step();
          return (pages.get(after.writerId) ?? []).slice(
            after.forwardedThrough,
            after.forwardedThrough + pagesMax,
          );
        },
        async readEvents(wanted) {
          await step();
          return wanted.map(({ place, jobId }) => eventsOf(place, jobId));
        },
        async readForwardMarks(_sink, ids) {
          await step();
          return new Map(ids.map((id) => [id, cursors.get(id) ?? 0]));
        },
        readDroppedPages: async () => [],
      },
    };
  }

  async forward(parts: ForwardingParts, writerId: number, stepsMax: number): Promise<void> {
    let claim: ForwardClaim | null = {
      writerId,
      forwardedThrough: this.cursors.get(writerId) ?? 0,
      pageAt: "",
    };
    for (let step = 0; claim && step < stepsMax; step += 1) {
      const own: ForwardClaim = claim;
      claim = await forwardNextPages(parts, own, { pagesMax: 2, isEnded: false, lastPage: 0 }).catch(
        () => own,
      );
      // A hub that stands still between the two saves late, or never.
      if (claim && step % 2 === 1)
        this.cursors.set(writerId, Math.max(this.cursors.get(writerId) ?? 0, claim.forwardedThrough));
    }
  }
}

const commits = fc.array(
  fc.record({
    writerId: fc.constantFrom(...writers),
    jobs: fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 4 }),
  }),
  { maxLength: 30 },
);

describe("any number of hubs that forward each other's pages, lag, fail and die", () => {
  it("lose nothing, and keep each job's events in order once duplicates are dropped (D20, D21)", async () => {
    await fc.assert(
      fc.asyncProperty(
        commits,
        commits,
        fc.array(
          fc.record({ writerId: fc.constantFrom(...writers), steps: fc.integer({ min: 1, max: 8 }) }),
          {
            maxLength: 6,
          },
        ),
        fc.infiniteStream(fc.boolean()),
        fc.scheduler(),
        async (before, during, hubs, failures, scheduler) => {
          const model = new Model();
          for (const commit of before) model.commit(commit);
          const step = () => scheduler.schedule(Promise.resolve()).then(() => undefined);
          const running = hubs.map(({ writerId, steps }) =>
            model.forward(
              model.hub(step, () => failures.next().value === true),
              writerId,
              steps,
            ),
          );
          const committing = (async () => {
            for (const commit of during) {
              await step();
              model.commit(commit);
            }
          })();
          await scheduler.waitFor(Promise.all([...running, committing]));
          const calm = model.hub(
            async () => undefined,
            () => false,
          );
          for (const writerId of writers) await model.forward(calm, writerId, 100);

          expect(model.seen()).toEqual(model.expected());
        },
      ),
      { numRuns: 300 },
    );
  });

  it("wait for nobody: a job handed to and fro goes out in full though the other hub forwards nothing (D21)", async () => {
    const model = new Model();
    for (let round = 0; round < 5; round += 1)
      for (const writerId of [1, 2]) model.commit({ writerId, jobs: ["a"] });
    const calm = model.hub(
      async () => undefined,
      () => false,
    );

    await model.forward(calm, 2, 100);

    expect(model.seen()).toEqual(model.expected());
  });
});
