// The direct way: a new job of an empty lane, for which a worker waits, is leased in the very commit that submits it.
//
// Invariants
//  1. Waiting work is never overtaken by new work of its lane: neither what a lane holds (the dispatcher looks), nor
//     what is on its way into the ledger to wait there (counted here).
//  2. Credit that was set aside is granted or lost, whatever becomes of the submit.
import { Fault } from "../domain/fault.js";
import type { Lane } from "../domain/lane.js";
import type { AdoptResult, SubmitItem } from "../ledger/submit-jobs.js";
import type { Dispatcher, Reservation } from "./dispatcher.js";
import type { LaneLease } from "./session-messages.js";

export type NewJob = Omit<SubmitItem, "leaseTo" | "laneId"> & { readonly lane: Lane };

/** One submit on its way: `end` must be called with what became of its items. */
export interface DirectSubmit {
  readonly items: readonly SubmitItem[];
  /** @param results one per item; none at all when nothing is known */
  readonly end: (results: readonly (AdoptResult | Fault)[]) => void;
}

interface Reserved {
  readonly reservation: Reservation;
  readonly lane: Lane;
  /** Where the jobs stand in the submit, in order. */
  readonly places: readonly number[];
}

export class DirectLeases {
  readonly #dispatcher: Pick<Dispatcher, "reserve" | "grant" | "lose">;
  readonly #countGranted: (leases: number) => void;
  /** Jobs per lane that are being submitted and will wait for a claim. */
  readonly #coming = new Map<number, number>();

  constructor(
    dispatcher: Pick<Dispatcher, "reserve" | "grant" | "lose">,
    countGranted: (leases: number) => void,
  ) {
    this.#dispatcher = dispatcher;
    this.#countGranted = countGranted;
  }

  /** Finds workers for as many of the jobs as may be leased at once. */
  begin(jobs: readonly NewJob[]): DirectSubmit {
    const leaseTo = new Map<number, SubmitItem["leaseTo"]>();
    const reserved: Reserved[] = [];
    const waiting = new Map<number, number>();
    for (const { lane, places } of byLane(jobs)) {
      const reservation = this.#coming.has(lane.laneId)
        ? null
        : this.#dispatcher.reserve(
            lane,
            places.map((place) => ({ bytes: (jobs[place] as NewJob).spec.payload.length })),
          );
      const direct = reservation?.jobs.length ?? 0;
      if (reservation) {
        reserved.push({ reservation, lane, places: places.slice(0, direct) });
        const { session, delivery, gateEpoch } = reservation;
        for (const place of places.slice(0, direct))
          leaseTo.set(place, { sessionId: session.sessionId, delivery, gateEpoch });
      }
      waiting.set(lane.laneId, places.length - direct);
    }
    for (const [laneId, count] of waiting) this.#count(laneId, count);
    return {
      items: jobs.map(({ jobId, tenantId, lane, spec }, place) => ({
        jobId,
        tenantId,
        laneId: lane.laneId,
        spec,
        leaseTo: leaseTo.get(place) ?? null,
      })),
      end: (results) => {
        for (const [laneId, count] of waiting) this.#count(laneId, -count);
        for (const one of reserved) this.#settle(one, results);
      },
    };
  }

  #settle({ reservation, lane, places }: Reserved, results: readonly (AdoptResult | Fault)[]): void {
    const leases: LaneLease[] = [];
    const gone: Reservation["jobs"][number][] = [];
    for (const [at, place] of places.entries()) {
      const result = results[place];
      const isUnknown = !result || (result instanceof Fault && result.reason === "LEDGER_UNAVAILABLE");
      if (isUnknown) return this.#dispatcher.lose(reservation);
      const lease = !(result instanceof Fault) && result.type === "accepted" ? result.lease : null;
      if (lease) leases.push({ lease, lane });
      else gone.push(reservation.jobs[at] as Reservation["jobs"][number]);
    }
    if (leases.length > 0) this.#countGranted(leases.length);
    this.#dispatcher.grant(reservation, leases, gone);
  }

  #count(laneId: number, change: number): void {
    if (change === 0) return;
    const count = (this.#coming.get(laneId) ?? 0) + change;
    if (count > 0) this.#coming.set(laneId, count);
    else this.#coming.delete(laneId);
  }
}

/** Jobs that wait for no time and are not judged by what is in flight, by their lane. */
function byLane(jobs: readonly NewJob[]): { readonly lane: Lane; readonly places: number[] }[] {
  const groups = new Map<number, { readonly lane: Lane; readonly places: number[] }>();
  for (const [place, { lane, spec }] of jobs.entries()) {
    if (spec.runAtMs !== null || spec.options.inFlight) continue;
    const group = groups.get(lane.laneId);
    if (group) group.places.push(place);
    else groups.set(lane.laneId, { lane, places: [place] });
  }
  return [...groups.values()];
}
