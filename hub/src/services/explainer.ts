// Puts together what this hub and the ledger know of a job's waiting and running; domain/explain.ts reads it.
import {
  type Candidate,
  candidatesOf,
  type Decision,
  decisionsOf,
  type GateStop,
  type KeyShare,
  type LanePlace,
  mismatchesOf,
  reasonsOf,
  type SessionFacts,
  type WaitedFor,
  type WaitReason,
} from "../domain/explain.js";
import { Fault } from "../domain/fault.js";
import type { SessionView } from "../domain/fleet-view.js";
import type { Gate, Hold } from "../domain/gate.js";
import { JobState } from "../domain/job-state.js";
import type { JobView } from "../domain/job-view.js";
import { type Lane, laneKeyOf } from "../domain/lane.js";
import { type LaneHead, rivalsOf } from "../domain/rivals.js";
import type { Principal } from "../domain/scope.js";
import { timelessScore } from "../domain/score.js";
import { defaultScoreWeights, mergeWeights } from "../domain/score-weights.js";
import { lastUuid } from "../domain/uuid.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { LaneBook } from "./lane-book.js";
import type { GatedLanes } from "./lane-gates.js";
import type { ProductBook } from "./product-book.js";
import type { Sessions } from "./sessions.js";

type ExplainLedger = Pick<
  Ledger,
  | "readJob"
  | "readHistory"
  | "readWaitingPlace"
  | "readWorkerNames"
  | "listSessions"
  | "readParking"
  | "readWaitedFor"
>;

const sessionsMax = 1_000;
const candidatesMax = 50;
const historyEventsMax = 1_000;

export interface Explanation {
  readonly job: JobView;
  readonly reasons: readonly WaitReason[];
  /** Where it stands in its lane; null unless it is ready. */
  readonly place: LanePlace | null;
  /** Those that match best first. */
  readonly candidates: readonly Candidate[];
  /** Live sessions that were looked at. */
  readonly sessions: number;
  readonly decisions: readonly (Decision & { readonly workerName: string })[];
  /** What it waits for; null unless it is blocked. */
  readonly waitedFor: WaitedFor | null;
  /** Those that stand before it, in the order in which they are asked. */
  readonly gates: readonly { readonly gate: Gate; readonly hold: Hold | null }[];
}

export class Explainer {
  readonly #ledger: ExplainLedger;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #gated: Pick<GatedLanes, "gatesFor" | "holdAt">;
  readonly #products: Pick<ProductBook, "weightsOf">;
  readonly #sessions: Pick<Sessions, "get">;

  constructor(
    ledger: ExplainLedger,
    lanes: Lanes,
    book: LaneBook,
    gated: Pick<GatedLanes, "gatesFor" | "holdAt">,
    products: Pick<ProductBook, "weightsOf">,
    sessions: Pick<Sessions, "get">,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#gated = gated;
    this.#products = products;
    this.#sessions = sessions;
  }

  /** @throws Fault JOB_NOT_FOUND */
  async explain(principal: Principal, jobId: string): Promise<Explanation> {
    const { tenantId } = principal;
    const job = await this.#ledger.readJob(tenantId, jobId);
    if (!job) throw new Fault("JOB_NOT_FOUND", "There is no such job.", { job_id: jobId });
    const isOpen = job.state < JobState.Succeeded;
    const sessions = isOpen ? await this.#liveSessions(tenantId) : [];
    const place = job.state === JobState.Ready ? await this.#placeOf(tenantId, job, sessions) : null;
    const decisions = decisionsOf(await this.#ledger.readHistory(tenantId, jobId, 0, historyEventsMax));
    const ids = [...new Set(decisions.map(({ sessionId }) => sessionId))].filter((id) => id !== "");
    const names = await this.#ledger.readWorkerNames(tenantId, ids);
    const gates = isOpen ? this.#gatesBefore(tenantId, job) : [];
    const gate = job.state === JobState.Parked ? await this.#parkingOf(jobId) : firstHold(gates);
    const waitedFor = job.state === JobState.Blocked ? await this.#ledger.readWaitedFor(jobId) : null;
    return {
      job,
      gates,
      waitedFor,
      reasons: reasonsOf(job, { place, sessions, gate, waitedFor }, Date.now()),
      place,
      candidates: candidatesOf(job, sessions, place?.bytes ?? 0).slice(0, candidatesMax),
      sessions: sessions.length,
      decisions: decisions.map((one) => ({ ...one, workerName: names.get(one.sessionId) ?? "" })),
    };
  }

  #gatesBefore(tenantId: number, job: JobView): Explanation["gates"] {
    return this.#gated
      .gatesFor(laneKeyOf(tenantId, job))
      .map((gate) => ({ gate, hold: this.#gated.holdAt(gate) }));
  }

  async #parkingOf(jobId: string): Promise<GateStop | null> {
    const parking = await this.#ledger.readParking(jobId);
    return parking && { reason: parking.reason, untilMs: parking.nextAtMs };
  }

  async #liveSessions(tenantId: number): Promise<SessionFacts[]> {
    const views = await this.#ledger.listSessions(tenantId, lastUuid, sessionsMax);
    return views.map((session) => ({
      session,
      credit: this.#sessions.get(session.sessionId)?.credit ?? null,
    }));
  }

  async #placeOf(
    tenantId: number,
    job: JobView,
    sessions: readonly SessionFacts[],
  ): Promise<LanePlace | null> {
    const found = await this.#ledger.readWaitingPlace(tenantId, job.jobId);
    const own = found && this.#book.get(found.laneId);
    if (!found || !own) return found && { ...found, lanesAhead: 0, share: null };
    const ownHead = { lane: own, ref: this.#lanes.head(own.laneId) ?? { ...found, jobId: job.jobId } };
    const others: LaneHead[] = [];
    for (const lane of this.#book.all()) {
      const ref = lane.tenantId === tenantId && lane !== own ? this.#lanes.head(lane.laneId) : undefined;
      if (ref) others.push({ lane, ref });
    }
    const matching = sessions.filter(({ session }) => mismatchesOf(job, session).length === 0);
    const lanesAhead = new Set<Lane>();
    const keysBeside = new Map<string, Lane>();
    for (const session of oneOfEachProfile(matching)) {
      const served = others.filter(
        ({ lane }) => mismatchesOf({ ...job, ...namesOf(lane) }, session).length === 0,
      );
      const scoreOf = ({ lane, ref }: LaneHead) => {
        const ofProduct = this.#products.weightsOf(lane);
        const weights = mergeWeights(defaultScoreWeights, ofProduct, session.profile.weights ?? {});
        return timelessScore(weights, lane, ref);
      };
      const rivals = rivalsOf(ownHead, served, scoreOf);
      for (const lane of rivals.lanes) lanesAhead.add(lane);
      for (const lane of rivals.keys) keysBeside.set(lane.fairnessKey, lane);
    }
    return {
      ...found,
      lanesAhead: lanesAhead.size,
      share: keysBeside.size === 0 ? null : this.#shareOf(own, [...keysBeside.values()]),
    };
  }

  #shareOf(own: Lane, beside: readonly Lane[]): KeyShare {
    const weight = this.#book.fairnessWeight(own);
    const weightSum = beside.reduce((sum, lane) => sum + this.#book.fairnessWeight(lane), weight);
    return { keysBeside: beside.length, weight, weightSum };
  }
}

/** Sessions of one profile choose alike. */
function oneOfEachProfile(sessions: readonly SessionFacts[]): SessionView[] {
  const byProfile = new Map(sessions.map(({ session }) => [JSON.stringify(session.profile), session]));
  return [...byProfile.values()];
}

/** Why a job in its lane is held: the first gate that is shut. */
function firstHold(gates: Explanation["gates"]): GateStop | null {
  return gates.find(({ hold }) => hold !== null)?.hold ?? null;
}

function namesOf({ kind, product, queue, capabilities }: Lane) {
  return { kind, product, queue, capabilities };
}
