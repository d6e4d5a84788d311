// The order in which events leave the ledger (D21). Pages of one writer are forwarded in their order; what is decided
// here is what else must be out before an event: the event before it of its job, when another writer wrote that.
//
// Invariants
//  1. An event is published only when the one before it of its job is durable in the sink.
//  2. So the first appearances of a job's events are in order of revision, whoever publishes what twice.
import type { ForwardedEvent, PagePlace } from "./forwarded-event.js";

/** How far writers are known to be forwarded. What it knows only rises, so that old knowledge is true, if weak. */
export class ForwardMarks {
  readonly #through = new Map<number, number>();
  readonly #writersMax: number;

  constructor(writersMax: number) {
    this.#writersMax = writersMax;
  }

  note(writerId: number, through: number): void {
    const known = this.#through.get(writerId) ?? -1;
    // Forgetting is safe: whatever is unknown is asked for again.
    if (known < 0 && this.#through.size >= this.#writersMax) this.#through.clear();
    this.#through.set(writerId, Math.max(known, through));
  }

  isForwarded(place: PagePlace): boolean {
    return place.page <= (this.#through.get(place.writerId) ?? -1);
  }
}

/**
 * Cuts a sequence into batches, each at most `eventsMax` long and with no job twice. When a batch is durable before the
 * next is sent, the batch itself may be stored in any order.
 */
export function cutBatches(events: readonly ForwardedEvent[], eventsMax: number): ForwardedEvent[][] {
  const batches: ForwardedEvent[][] = [];
  let batch: ForwardedEvent[] = [];
  let jobs = new Set<string>();
  for (const event of events) {
    if (batch.length >= eventsMax || jobs.has(event.jobId)) {
      batches.push(batch);
      batch = [];
      jobs = new Set();
    }
    batch.push(event);
    jobs.add(event.jobId);
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** Each event with what must go before it, oldest first: the chain that was found by `findPriors`. */
export interface Chain {
  readonly event: ForwardedEvent;
  readonly before: ForwardedEvent[];
}

/** What a chain needs next: where the event before its oldest lies, if that is not known to be forwarded. */
export function missingPrior(
  chain: Chain,
  ownWriterId: number,
  marks: Pick<ForwardMarks, "isForwarded">,
): PagePlace | null {
  const { prior } = chain.before[0] ?? chain.event;
  // Earlier pages of the own writer are out, or earlier in this very sequence.
  if (prior === null || prior.writerId === ownWriterId || marks.isForwarded(prior)) return null;
  return prior;
}
