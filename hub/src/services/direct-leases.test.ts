import { describe, expect, it } from "vitest";
import { jobSpec } from "../../test/harness/job-spec.js";
import { idOf, laneOf } from "../../test/harness/refs.js";
import { liveSession } from "../../test/harness/sessions.js";
import { Fault } from "../domain/fault.js";
import type { Lane } from "../domain/lane.js";
import type { SubmitItem, SubmitResult } from "../ledger/submit-jobs.js";
import { DirectLeases, type NewJob } from "./direct-leases.js";
import type { Reservation } from "./dispatcher.js";

/** A desk whose one worker has credit for so many jobs. */
function openDesk(creditJobs: number) {
  const { session } = liveSession(1, { jobs: creditJobs });
  let credit = creditJobs;
  let delivery = 0;
  const granted: { leases: number; gone: number }[] = [];
  const lost: number[] = [];
  const dispatcher = {
    reserve: (lane: Lane, jobs: readonly { bytes: number }[]): Reservation | null => {
      const fitting = jobs.slice(0, credit).map(({ bytes }) => ({ bytes, laneId: lane.laneId }));
      if (fitting.length === 0) return null;
      credit -= fitting.length;
      delivery += 1;
      return { session, epoch: 1, call: null, delivery, jobs: fitting, gateEpoch: 7 };
    },
    grant: (_of: Reservation, leases: readonly unknown[], gone: readonly unknown[]) =>
      void granted.push({ leases: leases.length, gone: gone.length }),
    lose: (reservation: Reservation) => void lost.push(reservation.delivery),
  };
  const leases = new DirectLeases(dispatcher, () => undefined);
  const allow = (jobs: number) => {
    credit += jobs;
  };
  return { leases, granted, lost, allow, sessionId: session.sessionId };
}

const newJob = (number: number, lane: Lane, runAtMs: number | null = null): NewJob => ({
  jobId: idOf(number),
  tenantId: 1,
  lane,
  spec: jobSpec({ runAtMs }),
});

/** What the ledger answers when nothing is amiss. */
function accepted({ jobId, laneId, spec, leaseTo }: SubmitItem): SubmitResult {
  const ref = { jobId, laneId, readyKey: 1, readyAtMs: 1, attempt: 0, bytes: spec.payload.length };
  const lease = {
    jobId,
    laneId,
    fencingToken: 1n,
    attempt: 1,
    attemptsMax: 5,
    payload: spec.payload,
    contentType: "",
    checkpoint: null,
    options: {},
    deadlineMs: null,
    submittedAtMs: 1,
  };
  return { type: "accepted", jobId, dueAtMs: null, ref: leaseTo ? null : ref, lease: leaseTo ? lease : null };
}

describe("the direct way", () => {
  it("leases as many new jobs as a worker waits for, the first ones, and hands them over", () => {
    const desk = openDesk(2);

    const { items, end } = desk.leases.begin([1, 2, 3].map((number) => newJob(number, laneOf(1))));

    const leaseTo = { sessionId: desk.sessionId, delivery: 1, gateEpoch: 7 };
    expect(items.map((item) => item.leaseTo)).toEqual([leaseTo, leaseTo, null]);
    end(items.map(accepted));
    expect(desk.granted).toEqual([{ leases: 2, gone: 0 }]);
  });

  it("leases no job that waits for a time", () => {
    const desk = openDesk(5);

    const { items } = desk.leases.begin([newJob(1, laneOf(1), 99), newJob(2, laneOf(1))]);

    expect(items.map((item) => item.leaseTo !== null)).toEqual([false, true]);
  });

  it("does not lease past jobs of the lane that are on their way and will wait", () => {
    const desk = openDesk(1);
    const first = desk.leases.begin([newJob(1, laneOf(1)), newJob(2, laneOf(1))]);
    desk.allow(2);

    const past = desk.leases.begin([newJob(3, laneOf(1))]);
    const other = desk.leases.begin([newJob(4, laneOf(2))]);
    first.end(first.items.map(accepted));
    past.end(past.items.map(accepted));
    const after = desk.leases.begin([newJob(5, laneOf(1))]);

    expect(past.items[0]?.leaseTo).toBeNull();
    expect(other.items[0]?.leaseTo).not.toBeNull();
    expect(after.items[0]?.leaseTo).not.toBeNull();
  });

  it("gives credit back for jobs that were there before, or were refused", () => {
    const desk = openDesk(3);
    const { items, end } = desk.leases.begin([1, 2, 3].map((number) => newJob(number, laneOf(1))));

    end([
      { type: "existing", jobId: idOf(9) },
      new Fault("ITEM_POISONED", "The ledger refused this item."),
      accepted(items[2] as SubmitItem),
    ]);

    expect(desk.granted).toEqual([{ leases: 1, gone: 2 }]);
  });

  it("leaves it to a resume to find out what the ledger granted, when it stayed away", () => {
    const desk = openDesk(1);
    const { end } = desk.leases.begin([newJob(1, laneOf(1))]);

    end([new Fault("LEDGER_UNAVAILABLE", "The ledger cannot be reached.")]);

    expect(desk.lost).toEqual([1]);
    expect(desk.granted).toEqual([]);
  });
});
