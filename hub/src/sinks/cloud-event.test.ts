import { expect, it } from "vitest";
import { JobEventType, JobState } from "../domain/job-state.js";
import { toCloudEvent } from "./cloud-event.js";

const event = {
  eventId: "7-12-3",
  jobId: "018f2d6e-0000-7000-8000-000000000001",
  type: JobEventType.RetryScheduled,
  state: JobState.Scheduled,
  revision: 4,
  attempt: 2,
  fencingToken: 9_007_199_254_740_993n,
  sessionId: null,
  reason: "BOOM: it broke\r\nbadly",
  atMs: 0,
  tenant: "factory-3",
  prior: null,
};

it("a state change becomes a CloudEvent whose id is the event's, and whose reason is in the data alone (D20)", () => {
  const made = toCloudEvent({ type: "job", event }, "holdfast");

  expect(made.attributes).toEqual({
    specversion: "1.0",
    id: "7-12-3",
    source: "holdfast",
    type: "dev.holdfast.job.retry_scheduled",
    time: "1970-01-01T00:00:00.000Z",
    subject: event.jobId,
    revision: "4",
    attempt: "2",
  });
  expect([made.tenant, made.shortType]).toEqual(["factory-3", "retry_scheduled"]);
  expect(JSON.parse(made.data)).toEqual({
    jobId: event.jobId,
    state: "scheduled",
    revision: 4,
    attempt: 2,
    fencingToken: "9007199254740993",
    reason: "BOOM: it broke\r\nbadly",
  });
});

it("dropped pages are announced by an event of their own, the same whoever announces them", () => {
  const pages = { eventId: "7-12-dropped", writerId: 7, firstPage: 12, lastPage: 90, droppedAtMs: 0 };

  const made = toCloudEvent({ type: "dropped", pages }, "holdfast");

  expect(made.attributes).toMatchObject({ id: "7-12-dropped", type: "dev.holdfast.events.dropped" });
  expect(made.tenant).toBeNull();
  expect(JSON.parse(made.data)).toEqual({ writerId: 7, firstPage: 12, lastPage: 90 });
});
