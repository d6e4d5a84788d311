import type { SignalPage } from "../domain/signal-page.js";

export type GapReason = "cursor_too_old" | "lagged" | "dead_lettered";

/** What a consumer is told. */
export type SubscriptionMessage =
  | {
      readonly type: "restored";
      readonly partition: number;
      readonly checkpoint: { readonly sequence: number; readonly state: Uint8Array } | null;
      readonly ackedThrough: number;
      readonly position: number;
    }
  | {
      readonly type: "signals";
      readonly partition: number;
      readonly isRedelivered: boolean;
      readonly pages: readonly SignalPage[];
    }
  | {
      readonly type: "gap";
      readonly partition: number;
      readonly firstMissing: number;
      readonly lastMissing: number;
      readonly reason: GapReason;
    }
  | { readonly type: "caught_up"; readonly partition: number; readonly sequence: number }
  | { readonly type: "cursor"; readonly partition: number; readonly ackedThrough: number }
  | { readonly type: "checkpoint_saved"; readonly partition: number; readonly sequence: number }
  | { readonly type: "revoked"; readonly partition: number };

/** What became of consecutive signals of a batch. */
export type PublishReceipt = {
  readonly number: number;
  readonly count: number;
} & (
  | {
      readonly type: "stored";
      readonly partition: number;
      readonly firstSequence: number;
      readonly isDuplicate: boolean;
    }
  | { readonly type: "dropped"; readonly reason: string }
);
