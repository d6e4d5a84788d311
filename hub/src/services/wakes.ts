import type { Woken } from "../domain/wait.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { JobFeed } from "./job-feed.js";

type WakeLedger = Pick<Ledger, "readWaking" | "wakeOn" | "fireWaitTimeouts">;

/** Brings jobs that were woken to their lanes, and wakes those whose time is over or that a publish left to others. */
export class Wakes {
  readonly #ledger: WakeLedger;
  readonly #lanes: Lanes;
  readonly #feed: JobFeed;
  readonly #count: (reason: string, jobs: number) => void;

  constructor(
    ledger: WakeLedger,
    lanes: Lanes,
    feed: JobFeed,
    count: (reason: string, jobs: number) => void,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#feed = feed;
    this.#count = count;
  }

  /** These jobs are ready, in the ledger. */
  woken({ refs, reason }: Woken): void {
    if (refs.length === 0) return;
    this.#count(reason.toLowerCase(), refs.length);
    this.#lanes.offer(refs);
    for (const { jobId } of refs) this.#feed.changed(jobId);
  }

  /** Wakes some of those whose time is over; answers whether there are more. */
  async timedOut(timersMax: number): Promise<boolean> {
    const woken = await this.#ledger.fireWaitTimeouts(timersMax);
    this.woken(woken);
    return woken.isMore;
  }

  /** Wakes some of those that a publish left; answers whether there are more. */
  async left(): Promise<boolean> {
    const partitions = await this.#ledger.readWaking();
    if (partitions.length === 0) return false;
    const woken = await this.#ledger.wakeOn(partitions);
    this.woken(woken);
    return woken.isMore;
  }
}
