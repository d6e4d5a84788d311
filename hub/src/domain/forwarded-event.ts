import type { JobEvent } from "./job-view.js";

/** Where an event lies in the ledger. */
export interface PagePlace {
  readonly writerId: number;
  readonly page: number;
  /** When the page was written, as the ledger's own text: to the microsecond, so that it is found again. */
  readonly at: string;
}

/** A state change of a job, on its way out of the ledger. */
export interface ForwardedEvent extends JobEvent {
  /** Name of the job's tenant; null when retention has dropped the job. */
  readonly tenant: string | null;
  /** Where the event before it of the same job lies; null for a job's first, and when it lies in the same page. */
  readonly prior: PagePlace | null;
}

/** A page of events as its writer wrote it. */
export interface EventPage {
  readonly place: PagePlace;
  /** Each job's in order of revision. Empty when the number came to nothing. */
  readonly events: readonly ForwardedEvent[];
}

/** Pages that retention dropped before they were forwarded: announced, never skipped in silence. */
export interface DroppedPages {
  readonly eventId: string;
  readonly writerId: number;
  readonly firstPage: number;
  readonly lastPage: number;
  readonly droppedAtMs: number;
}

export type Outgoing =
  | { readonly type: "job"; readonly event: ForwardedEvent }
  | { readonly type: "dropped"; readonly pages: DroppedPages };

/** How far the pages of one writer got into a sink. */
export interface ForwardStatus {
  readonly writerId: number;
  readonly host: string;
  readonly isEnded: boolean;
  readonly isDone: boolean;
  readonly forwardedThrough: number;
  readonly lastPage: number;
  /** Events that wait; beyond a bound of pages it is their share, so only about right. */
  readonly waitingEvents: number;
  /** For how long the oldest of them has waited; null when none waits. */
  readonly lagMs: number | null;
  /** Writer number of the hub that forwards; null: nobody just now. */
  readonly claimedBy: number | null;
}
