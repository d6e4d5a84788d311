import { instant } from "./instant.js";
import type { EventWindow, JobOptions, JobSpec } from "./job-spec.js";

/** What jobs are made of that a hub submits by itself: a job without what differs from one to the next. */
export interface JobTemplate
  extends Pick<
    JobSpec,
    ("kind" | "product" | "queue" | "priority" | "capabilities" | "source" | "fairness") | "contentType"
  > {
  readonly options: Pick<
    JobOptions,
    ("labels" | "retry" | "finishAndReport" | "traceContext") | ("inFlight" | "estimate")
  >;
}

/** Labels that tell a handler the window of its job. */
export function windowLabels({ source, fromMs, toMs }: EventWindow): Record<string, string> {
  return {
    window_source: source,
    window_from: instant(fromMs).toISOString(),
    window_to: instant(toMs).toISOString(),
  };
}
