import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  CreditSchema,
  type HeldVerdict,
  LostReason,
  ReleaseSchema,
  type Revoke,
  RevokeReason,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { RevokeCause } from "../job-errors.js";
import type { LossCause, ToRunner } from "../port.js";
import { scanLeases } from "../wire/lease-scan.js";
import type { EncodedResults } from "../wire/result-batch.js";
import { WireError } from "../wire/wire-cursor.js";
import {
  type Amount,
  type CreditLedger,
  ended,
  grant,
  leased,
  newLedger,
  newStream,
  withWindow,
} from "./credit-ledger.js";
import { overLimit, splitByPolicy } from "./disconnect-policy.js";
import { type HeldWindow, windowAfter } from "./held-window.js";
import { LeaseTable, leaseKey, type TabledLease } from "./lease-table.js";
import type { Outlet } from "./outlet.js";
import { newResult, type OpenResult } from "./result-keeper.js";

/** Most leases in one release message. */
const releaseLeasesMax = 1_000;

/** Leases that ended with a result: `report` holds the results and nothing else. */
export type EndedLeases = {
  readonly results: readonly OpenResult[];
  readonly report: Uint8Array;
  readonly creditBytes: number;
};

/** Where leases come in and go out: between the hub and the runner, with the credit that bounds them. */
export class LeaseDesk {
  readonly table = new LeaseTable();
  /** Newest delivery that came on the current stream; 0: none. */
  deliveredThrough = 0;
  readonly #outlet: Outlet;
  readonly #post: (message: ToRunner, transfer?: readonly ArrayBuffer[]) => void;
  /** True when the lease was ended by a result that has no verdict yet. */
  readonly #isReported: (key: string) => boolean;
  #window: HeldWindow;
  #ledger: CreditLedger;
  /** Given back while a hello that names them was under way: whether a handler had started. */
  readonly #owed = new Map<string, boolean>();

  constructor(
    window: HeldWindow,
    heldBytesMax: number,
    outlet: Outlet,
    post: (message: ToRunner, transfer?: readonly ArrayBuffer[]) => void,
    isReported: (key: string) => boolean,
  ) {
    this.#window = window;
    this.#ledger = newLedger({ jobs: window.jobs, bytes: heldBytesMax });
    this.#outlet = outlet;
    this.#post = post;
    this.#isReported = isReported;
  }

  /**
   * Passes a holdfast.v1.Leases on to the runner; gives the leases straight back when the worker takes none. A job that is
   * held already stays with the higher token (D4).
   */
  receive(bytes: Buffer, start: number, end: number, isAccepting: boolean): void {
    const { delivery, leases } = scanLeases(bytes, start, end);
    this.deliveredThrough = Math.max(this.deliveredThrough, delivery);
    const places = new Uint32Array(leases.length * 2);
    const refused: TabledLease[] = [];
    const replaced: TabledLease[] = [];
    const firstRef = this.table.nextRef;
    let jobs = 0;
    let credit = 0;
    for (const scanned of leases) {
      const jobId = bytes.toString("latin1", scanned.jobIdStart, scanned.jobIdEnd);
      const key = leaseKey(jobId, scanned.fencingToken);
      const held = this.table.heldOf(jobId);
      // A redelivery: it, or a newer one, is here already, and it spends no credit.
      if ((held !== undefined && held.fencingToken >= scanned.fencingToken) || this.#isReported(key))
        continue;
      if (held !== undefined) replaced.push(held);
      const lease = this.table.add(jobId, key, scanned);
      if (!isAccepting) refused.push(lease);
      places[jobs * 2] = scanned.start - start;
      places[jobs * 2 + 1] = scanned.end - start;
      jobs++;
      credit += lease.bytes;
    }
    if (jobs === 0) return;
    this.#ledger = leased(this.#ledger, jobs, credit);
    this.#loseReplaced(replaced.filter(({ ref }) => ref < firstRef));
    if (!isAccepting) return this.#giveBack(refused, false);
    const own = new Uint8Array(bytes.subarray(start, end));
    this.#post({ type: "leases", bytes: own, firstRef, places: places.slice(0, jobs * 2) }, [own.buffer]);
    // The runner knows those that came in this very message only now.
    this.#loseReplaced(replaced.filter(({ ref }) => ref >= firstRef));
  }

  #loseReplaced(leases: readonly TabledLease[]): void {
    this.lose(leases, { kind: "taken", message: "the job came again, under a higher fencing token" });
  }

  /** The runner ends leases without a result. */
  release(refs: readonly number[], isStarted: boolean): void {
    const leases: TabledLease[] = [];
    for (const ref of refs) {
      const lease = this.table.byRef(ref);
      if (lease !== undefined) leases.push(lease);
    }
    this.#giveBack(leases, isStarted);
  }

  /**
   * The runner ends leases with results. Results of leases that are lost do not count any more; the credit of the
   * others is to be given back, as `creditBack`, once they are kept.
   */
  endWithResults({ bytes, refs, ends }: EncodedResults): EndedLeases {
    const results: OpenResult[] = [];
    let creditBytes = 0;
    let start = 0;
    for (let i = 0; i < refs.length; i++) {
      const end = ends[i] as number;
      const lease = this.table.byRef(refs[i] as number);
      if (lease !== undefined) {
        this.table.remove(lease);
        if (lease.phase === "held") {
          results.push(newResult(lease, bytes, start, end));
          creditBytes += lease.bytes;
        } else {
          this.creditBack(1, lease.bytes);
        }
      }
      start = end;
    }
    if (results.length === refs.length) return { results, report: bytes, creditBytes };
    const report = Buffer.concat(results.map((result) => result.report.subarray(result.start, result.end)));
    return { results, report, creditBytes };
  }

  creditBack(jobs: number, bytes: number): void {
    this.#window = windowAfter(this.#window, jobs, performance.now());
    this.#ledger = ended(withWindow(this.#ledger, this.#window.jobs), jobs, bytes);
  }

  /** Grants whatever is free. */
  grantCredit(withheld: Amount, limits: Amount): void {
    const due = grant(this.#ledger, withheld, limits);
    if (due === undefined) return;
    this.#ledger = due.ledger;
    this.#outlet.send("credit", CreditSchema, { jobs: due.grant.jobs, bytes: BigInt(due.grant.bytes) });
  }

  /** A hello goes out that names every held lease. */
  beginHello(): void {
    this.#owed.clear();
  }

  /**
   * A welcome came: the new stream starts without credit, and with nothing to acknowledge. The hello has said what came
   * before, and the hub need not have heard of the last deliveries.
   */
  beginStream(): void {
    this.#ledger = newStream(this.#ledger);
    this.deliveredThrough = 0;
  }

  /**
   * Takes in what the hub says of the leases that the hello named.
   *
   * @returns how many leases were lost, and which ones the hub says were reported before
   */
  judge(verdicts: readonly HeldVerdict[], now: number): { lost: number; reported: string[] } {
    const reported: string[] = [];
    const expired: TabledLease[] = [];
    let lost = 0;
    for (const { jobId, fencingToken, kept, lostReason } of verdicts) {
      const token = Number(fencingToken);
      const key = leaseKey(jobId, token);
      const lease = this.table.heldAs(jobId, token);
      if (lease !== undefined && kept) {
        lease.doubtedSince = undefined;
      } else if (lease !== undefined && lostReason === LostReason.SESSION_EXPIRED) {
        expired.push(lease);
      } else if (lease?.openWait !== undefined && lostReason === LostReason.REPORTED) {
        // What ended it is its own wait, whose verdict was lost.
        this.table.lose(lease);
        this.#post({ type: "suspended", ref: lease.ref });
      } else if (lease !== undefined) {
        this.lose([lease], { kind: "taken", message: lostMessage(lostReason) });
        lost++;
      } else if (kept && !this.#isReported(key)) {
        // It ended between the hello and now. Unless the runner has told otherwise, its handler had started.
        this.#sendRelease([{ jobId, fencingToken: token, isStarted: this.#owed.get(key) ?? true }]);
      } else if (!kept && lostReason === LostReason.REPORTED) {
        reported.push(key);
      }
    }
    lost += this.doubt(expired, now, { kind: "taken", message: lostMessage(LostReason.SESSION_EXPIRED) });
    return { lost, reported };
  }

  /** Gives back a lease that the runner ended with a result which the hub will not have. */
  releaseRefused(jobId: string, fencingToken: number): void {
    this.#sendRelease([{ jobId, fencingToken, isStarted: true }]);
  }

  revoke(revoke: Revoke): void {
    for (const { jobId, fencingToken, reason, grace, message } of revoke.leases) {
      const cause = revokeCauses[reason];
      if (cause === undefined) throw new WireError(`revoke reason ${reason} is unknown`);
      const lease = this.table.heldAs(jobId, Number(fencingToken));
      if (lease === undefined) continue;
      if (grace !== undefined && durationMs(grace) > 0)
        this.#post({ type: "revoked", ref: lease.ref, cause, message });
      else this.lose([lease], { kind: "revoked", cause, message });
    }
  }

  /**
   * Nobody can vouch for these leases any more: those that have to stop do, the others may only finish what they began.
   *
   * @returns how many were given up
   */
  doubt(leases: readonly TabledLease[], since: number, cause: LossCause): number {
    const { stopping, finishing } = splitByPolicy(leases);
    this.lose(stopping, cause);
    for (const lease of finishing) lease.doubtedSince ??= since;
    if (finishing.length > 0) this.#post({ type: "doubtful", refs: finishing.map((lease) => lease.ref) });
    return stopping.length;
  }

  /** Gives up leases whose time to finish in doubt is over; returns when the next one's is. */
  expireDoubted(now: number): number | undefined {
    const { over, next } = overLimit(this.table.held(), now);
    this.lose(over, { kind: "trust-window" });
    return next;
  }

  /** These leases do not stand any more: their handlers are stopped, and nothing is reported for them. */
  lose(leases: readonly TabledLease[], cause: LossCause): void {
    if (leases.length === 0) return;
    for (const lease of leases) this.table.lose(lease);
    this.#post({ type: "lost", refs: leases.map((lease) => lease.ref), cause });
  }

  #giveBack(leases: readonly TabledLease[], isStarted: boolean): void {
    const standing: { jobId: string; fencingToken: number; isStarted: boolean }[] = [];
    for (const lease of leases) {
      const { key, jobId, fencingToken, phase } = lease;
      this.table.remove(lease);
      this.creditBack(1, lease.bytes);
      if (this.#outlet.isAttaching) this.#owed.set(key, isStarted);
      else if (phase === "held") standing.push({ jobId, fencingToken, isStarted });
    }
    this.#sendRelease(standing);
  }

  #sendRelease(leases: readonly { jobId: string; fencingToken: number; isStarted: boolean }[]): void {
    for (let from = 0; from < leases.length; from += releaseLeasesMax) {
      this.#outlet.send("release", ReleaseSchema, {
        leases: leases.slice(from, from + releaseLeasesMax).map(({ jobId, fencingToken, isStarted }) => ({
          jobId,
          fencingToken: BigInt(fencingToken),
          started: isStarted,
        })),
      });
    }
  }
}

const revokeCauses: Partial<Record<RevokeReason, RevokeCause>> = {
  [RevokeReason.CANCELLED]: "cancelled",
  [RevokeReason.PREEMPTED]: "preempted",
  [RevokeReason.QUARANTINED]: "quarantined",
  [RevokeReason.DEADLINE]: "deadline",
};

function lostMessage(reason: LostReason): string {
  switch (reason) {
    case LostReason.SESSION_EXPIRED:
      return "the session expired while no hub could be reached";
    case LostReason.REPORTED:
      return "a result of this lease was committed before";
    default:
      return "the fencing token is no longer current: the job was cancelled or taken away";
  }
}
