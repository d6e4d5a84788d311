// What workers ask for when a job waits for a signal, and what they are answered.
import type { ChannelName } from "../domain/channel.js";
import type { SignalPage } from "../domain/signal-page.js";

export interface WaitRequest {
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly channel: ChannelName;
  readonly key: string;
  readonly afterSequence: number;
  /** null: as long as it takes. */
  readonly timeoutMs: number | null;
}

export type WaitAnswer =
  /** A page that holds the signal alone. */
  | { readonly type: "signal"; readonly page: SignalPage; readonly partition: number }
  | { readonly type: "timed_out" }
  | { readonly type: "suspended"; readonly timeoutAtMs: number | null };
