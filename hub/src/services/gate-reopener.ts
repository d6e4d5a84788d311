// Lets parked jobs back into their lanes when their gate is open, best score first and never more at once than the gate
// has room for: what the claim would stop again stays where it is. Hubs share the work; any of them may do it.
import { type Gate, holdOf } from "../domain/gate.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { GateBook } from "./gate-book.js";
import type { JobFeed } from "./job-feed.js";
import { Rounds } from "./rounds.js";

const roundIntervalMs = 500;
/** Jobs of one gate that return in one round, however much room it has: a gate that opens is no flood. */
const jobsPerRoundMax = 1_000;

export class GateReopener {
  readonly #ledger: Pick<Ledger, "listParkedGates" | "reopenParked">;
  readonly #book: Pick<GateBook, "get">;
  readonly #lanes: Pick<Lanes, "offer">;
  readonly #feed: Pick<JobFeed, "changed">;
  readonly #rounds: Rounds;

  constructor(
    ledger: Pick<Ledger, "listParkedGates" | "reopenParked">,
    book: Pick<GateBook, "get">,
    lanes: Pick<Lanes, "offer">,
    feed: Pick<JobFeed, "changed">,
    onError: (error: unknown) => void,
  ) {
    this.#ledger = ledger;
    this.#book = book;
    this.#lanes = lanes;
    this.#feed = feed;
    this.#rounds = new Rounds(() => this.#round(), roundIntervalMs, onError);
  }

  start(): void {
    this.#rounds.start();
  }

  /** A gate may have opened, or got room. */
  lookNow(): void {
    this.#rounds.hurry();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
  }

  async #round(): Promise<void> {
    for (const gateId of await this.#ledger.listParkedGates()) {
      const jobsMax = Math.min(this.#roomOf(this.#book.get(gateId)), jobsPerRoundMax);
      if (jobsMax === 0) continue;
      const refs = await this.#ledger.reopenParked({ gateId, jobsMax });
      this.#lanes.offer(refs);
      for (const { jobId } of refs) this.#feed.changed(jobId);
    }
  }

  /** A gate that was removed stops nothing. */
  #roomOf(gate: Gate | undefined): number {
    return gate && holdOf(gate, Date.now()) ? 0 : jobsPerRoundMax;
  }
}
