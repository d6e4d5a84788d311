import type { Outgoing } from "../domain/forwarded-event.js";

/**
 * Where events go. Every adapter passes hub/test/sinks/conformance.ts.
 *
 * A batch holds no job twice, and the next is sent when this one is durable: so an adapter may store a batch in any
 * order, and all of it at once.
 */
export interface EventSink {
  /** Cursors in the ledger are kept under this name. */
  readonly name: string;
  /**
   * Resolves when every event of the batch is durable. An event may come again, here or through another hub; the sink
   * hands its id on, so that duplicates can be told.
   *
   * @throws when that is not known of all of them: any may be durable, and the same batch comes again
   */
  publish(batch: readonly Outgoing[]): Promise<void>;
  /** Ends what belongs to the sink alone; a batch on its way is rejected. */
  close(): Promise<void>;
}

/** The sink cannot take a batch now; it is tried again. */
export class SinkError extends Error {
  override readonly name = "SinkError";
}
