import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { creditBytes, type ScannedLease } from "../wire/lease-scan.js";

/**
 * The leases that the runner has and has not answered for yet.
 *
 *     (hub sends) ──► held ──result, release──► (gone)
 *                      │ hub or clock takes it
 *                      ▼
 *                     lost ──answer of the runner──► (gone)
 *
 * A held lease may be in doubt: no hub was heard for too long, or its session expired, and its job's policy lets the
 * handler finish all the same; a verdict will tell whether that still counts. A lost lease is not named to any hub and
 * its result is not reported, but it still fills its place: its handler may be running, so its credit returns only
 * with the runner's answer.
 *
 * At most one lease of a job is held. One that comes under a higher token tells that the older is not current any more.
 */
export type TabledLease = {
  readonly ref: number;
  /** Its name in every table; building it anew for each look-up would be felt. */
  readonly key: string;
  readonly jobId: string;
  readonly fencingToken: number;
  /** Bytes of credit it spends. */
  readonly bytes: number;
  readonly finishesDisconnected: boolean;
  /** Undefined: no bound. */
  readonly disconnectLimitMs: number | undefined;
  /** Newest checkpoint that was acknowledged. */
  checkpointSequence: number;
  /** Sent and not answered yet; sent again on the next stream. */
  openCheckpoint: { readonly sequence: number; readonly state: Uint8Array } | undefined;
  /** Acts on effects that were sent and not answered yet, by request id; sent again on the next stream. */
  readonly openActs: Map<string, Uint8Array>;
  /** A wait for a signal that was sent and not answered yet; sent again on the next stream. */
  openWait: { readonly requestId: string; readonly wait: Uint8Array } | undefined;
  /** Since when nobody can vouch for it, by the session's TrustClock; undefined: it is not in doubt. */
  doubtedSince: number | undefined;
  phase: "held" | "lost";
};

/** Names a lease as the wire does. */
export function leaseKey(jobId: string, fencingToken: number): string {
  return `${jobId}/${fencingToken}`;
}

export class LeaseTable {
  readonly #byRef = new Map<number, TabledLease>();
  /** By job. */
  readonly #held = new Map<string, TabledLease>();
  #nextRef = 1;

  get heldCount(): number {
    return this.#held.size;
  }

  get nextRef(): number {
    return this.#nextRef;
  }

  /** Holds a lease, in the place of an older one of its job, which is the caller's to lose. */
  add(jobId: string, key: string, scanned: ScannedLease): TabledLease {
    const lease: TabledLease = {
      ref: this.#nextRef++,
      key,
      jobId,
      fencingToken: scanned.fencingToken,
      bytes: creditBytes(scanned),
      finishesDisconnected: scanned.disconnectPolicy === DisconnectPolicy.FINISH_AND_REPORT,
      disconnectLimitMs: scanned.disconnectLimitMs,
      checkpointSequence: scanned.checkpointSequence,
      openCheckpoint: undefined,
      openActs: new Map(),
      openWait: undefined,
      doubtedSince: undefined,
      phase: "held",
    };
    this.#byRef.set(lease.ref, lease);
    this.#held.set(jobId, lease);
    return lease;
  }

  byRef(ref: number): TabledLease | undefined {
    return this.#byRef.get(ref);
  }

  /** The lease that is held of this job, whatever its token. */
  heldOf(jobId: string): TabledLease | undefined {
    return this.#held.get(jobId);
  }

  /** A lease that is held under this name. */
  heldAs(jobId: string, fencingToken: number): TabledLease | undefined {
    const lease = this.#held.get(jobId);
    return lease?.fencingToken === fencingToken ? lease : undefined;
  }

  held(): IterableIterator<TabledLease> {
    return this.#held.values();
  }

  lose(lease: TabledLease): void {
    lease.phase = "lost";
    this.#letGo(lease);
  }

  /** The runner has answered for it. */
  remove(lease: TabledLease): void {
    this.#byRef.delete(lease.ref);
    this.#letGo(lease);
  }

  /** Its place may be another's by now. */
  #letGo(lease: TabledLease): void {
    if (this.#held.get(lease.jobId) === lease) this.#held.delete(lease.jobId);
  }
}
