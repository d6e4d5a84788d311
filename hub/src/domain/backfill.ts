import type { EventWindow } from "./job-spec.js";
import type { JobTemplate } from "./job-template.js";

/** The numbers are stored and sent. */
export const BackfillState = { Running: 1, Paused: 2, Cancelled: 3, Finished: 4 } as const;
export type BackfillState = (typeof BackfillState)[keyof typeof BackfillState];

/** State of a window of a backfill. The numbers are stored and sent. */
export const WindowState = {
  Waiting: 1,
  Submitted: 2,
  Done: 3,
  Failed: 4,
  Skipped: 5,
  Cancelled: 6,
} as const;
export type WindowState = (typeof WindowState)[keyof typeof WindowState];

/** A range of event time, cut into windows from its begin on; the last one may be shorter. */
export interface BackfillRange extends EventWindow {
  readonly stepMs: number;
}

export interface BackfillPace {
  /** Windows that may be open at once. */
  readonly inFlightMax: number;
  /** Windows that may be submitted per minute; null: no bound. */
  readonly perMinuteMax: number | null;
}

export interface NewBackfill extends BackfillPace {
  readonly backfillId: string;
  readonly range: BackfillRange;
  readonly job: JobTemplate;
  readonly payload: Uint8Array;
}

export interface WindowCounts {
  readonly waiting: number;
  readonly submitted: number;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
  readonly cancelled: number;
}

/** A backfill, as it is now. */
export interface BackfillView extends Omit<NewBackfill, "payload"> {
  readonly state: BackfillState;
  readonly windows: WindowCounts;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly endedAtMs: number | null;
}

export interface BackfillWindowView {
  readonly fromMs: number;
  readonly toMs: number;
  readonly state: WindowState;
  readonly jobId: string | null;
}

/** What a backfill of a range would do now. */
export interface BackfillPreview {
  readonly total: number;
  /** Done already. */
  readonly done: number;
  /** Open jobs are at them. */
  readonly open: number;
  /** The first of the others. */
  readonly first: readonly EventWindow[];
}

export interface WatermarkView {
  readonly source: string;
  readonly originMs: number;
  /** All windows from the origin to here are done. */
  readonly watermarkMs: number;
  /** Null while nothing is done. */
  readonly doneThroughMs: number | null;
  readonly open: number;
  readonly failed: number;
  readonly done: readonly { readonly fromMs: number; readonly toMs: number }[];
}

export const backfillWindowsMax = 100_000;

export function windowsOf({ fromMs, toMs, stepMs }: BackfillRange): number {
  return Math.ceil((toMs - fromMs) / stepMs);
}
