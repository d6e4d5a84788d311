// One step of forwarding: the next pages of one writer, in order, with what must go before them (D20, D21).
import { type Chain, cutBatches, type ForwardMarks, missingPrior } from "../domain/event-order.js";
import type { EventPage, ForwardedEvent } from "../domain/forwarded-event.js";
import type { ForwardClaim } from "../ledger/forward-cursors.js";
import type { Ledger } from "../ledger/ledger.js";
import type { EventSink } from "../sinks/sink.js";

export interface ForwardingParts {
  readonly ledger: Pick<Ledger, "readPages" | "readEvents" | "readDroppedPages" | "readForwardMarks">;
  readonly sink: EventSink;
  readonly marks: ForwardMarks;
  readonly batchEventsMax: number;
  /** Events that became durable; those of them that were published ahead of their own writer's forwarder. */
  readonly forwarded: (events: number, ahead: number) => void;
}

export interface ForwardingStep {
  readonly pagesMax: number;
  /** The writer writes no more pages: a number that is missing came to nothing. */
  readonly isEnded: boolean;
  /** Its newest page, as far as is known. */
  readonly lastPage: number;
}

/**
 * Forwards some pages after the claim's; answers the claim that they make, or null when there are none.
 *
 * @throws when the sink or the ledger fails; nothing is lost, and the same step may be tried again
 */
export async function forwardNextPages(
  parts: ForwardingParts,
  claim: ForwardClaim,
  step: ForwardingStep,
): Promise<ForwardClaim | null> {
  const read = await parts.ledger.readPages(claim, step.pagesMax);
  const pages = withoutGaps(read, claim.forwardedThrough);
  if (pages.length === 0) return await passMissing(parts, claim, read, step);
  const events = pages.flatMap((page) => page.events);
  const ordered = await withPriors(parts, claim.writerId, events);
  for (const batch of cutBatches(ordered, parts.batchEventsMax))
    await parts.sink.publish(batch.map((event) => ({ type: "job", event })));
  parts.forwarded(ordered.length, ordered.length - events.length);
  const { page, at } = (pages.at(-1) as EventPage).place;
  return { ...claim, forwardedThrough: page, pageAt: at };
}

function withoutGaps(pages: readonly EventPage[], after: number): EventPage[] {
  const end = pages.findIndex(({ place }, at) => place.page !== after + 1 + at);
  return end < 0 ? [...pages] : pages.slice(0, end);
}

/** The next number has no page: dropped by retention, come to nothing, or not written yet. */
async function passMissing(
  { ledger, sink, forwarded }: ForwardingParts,
  claim: ForwardClaim,
  later: readonly EventPage[],
  { isEnded, lastPage }: ForwardingStep,
): Promise<ForwardClaim | null> {
  const next = later[0]?.place.page;
  if (next === undefined && !isEnded && lastPage <= claim.forwardedThrough) return null;
  const [dropped] = await ledger.readDroppedPages(sink.name, claim);
  if (dropped && (next === undefined || dropped.firstPage < next)) {
    await sink.publish([{ type: "dropped", pages: dropped }]);
    forwarded(1, 0);
    return { ...claim, forwardedThrough: dropped.lastPage };
  }
  // A living writer fills the number itself, at once.
  return isEnded && next !== undefined ? { ...claim, forwardedThrough: next - 1 } : null;
}

/** Rounds of looking for what must go before; each goes one event back in every job that still lacks one. */
const roundsMax = 1_000;

/**
 * The events, each after those of its job that other writers wrote and that are not known to be out. They go out twice
 * then, here and by their own writer's forwarder, under the same id: so nobody waits for another hub.
 */
async function withPriors(
  parts: ForwardingParts,
  writerId: number,
  events: readonly ForwardedEvent[],
): Promise<ForwardedEvent[]> {
  const chains: Chain[] = events.map((event) => ({ event, before: [] }));
  let open = chains;
  for (let round = 0; open.length > 0; round += 1) {
    if (round === roundsMax) throw new Error("A job's events lead back without an end.");
    open = await stepBack(parts, writerId, open);
  }
  return chains.flatMap(({ event, before }) => [...before, event]);
}

/** Puts a job's events of one more page before each chain that lacks them; answers those that may lack another. */
async function stepBack(
  parts: ForwardingParts,
  writerId: number,
  chains: readonly Chain[],
): Promise<Chain[]> {
  const { ledger, sink, marks } = parts;
  const lacks = (chain: Chain) => missingPrior(chain, writerId, marks);
  const doubtful = new Set(chains.flatMap((chain) => lacks(chain)?.writerId ?? []));
  if (doubtful.size === 0) return [];
  const known = await ledger.readForwardMarks(sink.name, [...doubtful]);
  for (const [other, through] of known) marks.note(other, through);
  const lacking = chains.flatMap((chain) => {
    const place = lacks(chain);
    return place ? [{ chain, place, jobId: chain.event.jobId, tenant: chain.event.tenant }] : [];
  });
  if (lacking.length === 0) return [];
  const found = await ledger.readEvents(lacking);
  return lacking.flatMap(({ chain }, at) => {
    const earlier = found[at] ?? [];
    // None: retention dropped the page, and its own writer's forwarder announces that.
    if (earlier.length === 0) return [];
    chain.before.unshift(...earlier);
    return [chain];
  });
}
