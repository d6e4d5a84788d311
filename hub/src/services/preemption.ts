import { type Gate, isPreemptive, type SeatsSettings } from "../domain/gate.js";
import { Priority } from "../domain/job-spec.js";
import { canServe, type Ref } from "../domain/lane.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { JobFeed } from "./job-feed.js";
import type { LaneBook } from "./lane-book.js";
import type { RevokedLease } from "./session-messages.js";
import type { WorkerSession } from "./worker-session.js";

export interface PreemptionHooks {
  readonly revoke: (sessionId: string, lease: RevokedLease) => void;
  readonly noteDue: (dueAtMs: number) => void;
  /** A seat is free, or will be. */
  readonly seatFreed: () => void;
  readonly counted: () => void;
  readonly failed: (error: unknown) => void;
}

/** Makes room for critical jobs that found no seat: each stop takes one seat at most. */
export class Preemption {
  readonly #ledger: Pick<Ledger, "preempt">;
  readonly #book: LaneBook;
  readonly #lanes: Pick<Lanes, "offer">;
  readonly #feed: Pick<JobFeed, "changed">;
  readonly #hooks: PreemptionHooks;

  constructor(
    ledger: Pick<Ledger, "preempt">,
    book: LaneBook,
    lanes: Pick<Lanes, "offer">,
    feed: Pick<JobFeed, "changed">,
    hooks: PreemptionHooks,
  ) {
    this.#ledger = ledger;
    this.#book = book;
    this.#lanes = lanes;
    this.#feed = feed;
    this.#hooks = hooks;
  }

  /** A gate stopped a job that the session would have got. */
  stopped(session: WorkerSession, ref: Ref, gate: Gate | undefined): void {
    const lane = this.#book.get(ref.laneId);
    if (!gate || !isPreemptive(gate) || lane?.priority !== Priority.Critical) return;
    this.#preempt(session, ref, gate.gateId, gate.settings as SeatsSettings).catch(this.#hooks.failed);
  }

  async #preempt(
    session: WorkerSession,
    { jobId }: Ref,
    seatsMeterId: number,
    { seatsMax, graceMs }: SeatsSettings,
  ): Promise<void> {
    const laneIds = [...this.#book.all()]
      .filter((lane) => lane.priority < Priority.Critical && canServe(session.profile, lane))
      .map(({ laneId }) => laneId);
    const preempted = await this.#ledger.preempt({ seatsMeterId, seatsMax, jobId, laneIds, graceMs });
    if (!preempted) return;
    const { lease, ref, dueAtMs } = preempted;
    this.#hooks.counted();
    this.#hooks.revoke(lease.sessionId, {
      jobId: lease.jobId,
      fencingToken: lease.fencingToken,
      reason: "preempted",
      graceMs: ref ? 0 : graceMs,
      message: `The critical job ${jobId} takes the seat.`,
    });
    if (dueAtMs !== null) this.#hooks.noteDue(dueAtMs);
    if (!ref) return;
    this.#lanes.offer([ref]);
    this.#feed.changed(lease.jobId);
    this.#hooks.seatFreed();
  }
}
