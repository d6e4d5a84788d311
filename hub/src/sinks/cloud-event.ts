// Events as CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), in the form that a
// binary-mode binding takes: attributes apart from the data. Names are part of what consumers rely on.
import type { Outgoing } from "../domain/forwarded-event.js";
import { JobEventType, JobState } from "../domain/job-state.js";

export interface CloudEvent {
  /** In the name of the attribute: `id`, `source`, `type`, `time`, `subject` and our extensions. */
  readonly attributes: Readonly<Record<string, string>>;
  /** The last part of the type: `leased`, `retry_scheduled`. */
  readonly shortType: string;
  /** Tenant's name; null when it is nobody's, or nobody knows it any more. */
  readonly tenant: string | null;
  readonly data: string;
}

const typePrefix = "dev.holdfast";

/** RetryScheduled is `retry_scheduled`, as on the wire. */
function words(names: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(
    Object.entries(names).map(([name, number]) => [
      number,
      name.replace(/(?!^)([A-Z])/g, "_$1").toLowerCase(),
    ]),
  );
}
const eventWords = words(JobEventType);
const stateWords = words(JobState);

export function toCloudEvent(outgoing: Outgoing, source: string): CloudEvent {
  if (outgoing.type === "dropped") {
    const { eventId, writerId, firstPage, lastPage, droppedAtMs } = outgoing.pages;
    return {
      attributes: {
        specversion: "1.0",
        id: eventId,
        source,
        type: `${typePrefix}.events.dropped`,
        time: new Date(droppedAtMs).toISOString(),
      },
      shortType: "dropped",
      tenant: null,
      data: JSON.stringify({ writerId, firstPage, lastPage }),
    };
  }
  const { event } = outgoing;
  const shortType = eventWords.get(event.type) ?? String(event.type);
  return {
    attributes: {
      specversion: "1.0",
      id: event.eventId,
      source,
      type: `${typePrefix}.job.${shortType}`,
      time: new Date(event.atMs).toISOString(),
      subject: event.jobId,
      revision: String(event.revision),
      attempt: String(event.attempt),
    },
    shortType,
    tenant: event.tenant,
    data: JSON.stringify({
      jobId: event.jobId,
      state: stateWords.get(event.state) ?? String(event.state),
      revision: event.revision,
      attempt: event.attempt,
      // A string, as in the JSON of the protocol: it may pass what a double holds.
      fencingToken: String(event.fencingToken),
      ...(event.sessionId !== null && { sessionId: event.sessionId }),
      ...(event.reason !== "" && { reason: event.reason }),
    }),
  };
}
