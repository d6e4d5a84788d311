import type { Outgoing } from "../domain/forwarded-event.js";
import { type EventSink, SinkError } from "./sink.js";

/** A sink for tests and trials: keeps what was published, every time that it was. */
export class MemorySink implements EventSink {
  readonly name = "memory";
  readonly published: Outgoing[] = [];
  #isAway = false;

  /** While away it refuses every batch. */
  setAway(isAway: boolean): void {
    this.#isAway = isAway;
  }

  async publish(batch: readonly Outgoing[]): Promise<void> {
    if (this.#isAway) throw new SinkError("The sink is away.");
    this.published.push(...batch);
  }

  async close(): Promise<void> {
    this.#isAway = true;
  }
}
