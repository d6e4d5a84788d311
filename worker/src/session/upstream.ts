import type { LeaseDesk } from "./lease-desk.js";
import type { Outlet } from "./outlet.js";
import type { ResultKeeper } from "./result-keeper.js";
import type { SessionTuning } from "./session-plan.js";
import { type StreamLimits, streamLimits } from "./stream-limits.js";

/**
 * Sends what is due, once per tick however many things became due in it: results first, then credit. A worker takes
 * new work only after it has said what became of the old.
 */
export class Upstream {
  readonly #outlet: Outlet;
  readonly #results: ResultKeeper;
  readonly #desk: LeaseDesk;
  readonly #tuning: SessionTuning;
  readonly #takesLeases: () => boolean;
  #isDue = false;
  /** What the hub of the current stream allows. */
  limits: StreamLimits = streamLimits(undefined);

  constructor(
    outlet: Outlet,
    results: ResultKeeper,
    desk: LeaseDesk,
    tuning: SessionTuning,
    takesLeases: () => boolean,
  ) {
    this.#outlet = outlet;
    this.#results = results;
    this.#desk = desk;
    this.#tuning = tuning;
    this.#takesLeases = takesLeases;
  }

  flushSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.flush();
    });
  }

  /** Stops where the transport is full; the outlet tells when to go on. */
  flush(): void {
    const { openResultsMax, openResultBytesMax, reportBytesMax } = this.#tuning;
    while (this.#outlet.isWritable) {
      const report = this.#results.nextReport(this.limits.reportResultsMax, reportBytesMax);
      if (report === undefined) break;
      this.#outlet.sendBytes("report", report);
    }
    if (!this.#outlet.isLive || !this.#takesLeases()) return;
    const withheld = {
      jobs: Math.max(0, this.#results.openCount - openResultsMax),
      bytes: Math.max(0, this.#results.openBytes - openResultBytesMax),
    };
    this.#desk.grantCredit(withheld, this.limits.credit);
  }
}
