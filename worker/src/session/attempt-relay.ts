import { fromBinary } from "@bufbuild/protobuf";
import { EffectVerdictSchema } from "@holdfast/gen/holdfast/v1/effect_pb";
import {
  type CheckpointSaved,
  CheckpointSchema,
  ProgressReportSchema,
  Verdict,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { ProgressItem, ToRunner } from "../port.js";
import { type LeaseTable, leaseKey, type TabledLease } from "./lease-table.js";
import type { Outlet } from "./outlet.js";

/** Most entries of one progress message. */
const progressMax = 1_000;

/**
 * Passes on what running attempts say before they end. A checkpoint, and an act on an effect, is sent until it is
 * answered, again on every new stream on which its lease still stands (D7, D16); the runner has at most one checkpoint
 * open for each lease, and one act for each effect. Progress is best effort: what cannot be sent now is not worth
 * sending later.
 */
export class AttemptRelay {
  readonly #table: LeaseTable;
  readonly #outlet: Outlet;
  readonly #post: (message: ToRunner) => void;

  constructor(table: LeaseTable, outlet: Outlet, post: (message: ToRunner) => void) {
    this.#table = table;
    this.#outlet = outlet;
    this.#post = post;
  }

  checkpoint(ref: number, sequence: number, state: Uint8Array): void {
    const lease = this.#table.byRef(ref);
    if (lease === undefined || lease.phase === "lost") return;
    lease.openCheckpoint = { sequence, state };
    this.#send(lease);
  }

  /** A new stream is live. */
  resend(): void {
    for (const lease of this.#table.held()) {
      this.#send(lease);
      for (const act of lease.openActs.values()) this.#sendAct(act);
    }
  }

  #send({ jobId, fencingToken, openCheckpoint }: TabledLease): void {
    if (openCheckpoint === undefined) return;
    this.#outlet.send("checkpoint", CheckpointSchema, {
      jobId,
      fencingToken: BigInt(fencingToken),
      sequence: BigInt(openCheckpoint.sequence),
      state: openCheckpoint.state,
    });
  }

  saved(saved: CheckpointSaved): void {
    const lease = this.#table.heldByKey(leaseKey(saved.jobId, Number(saved.fencingToken)));
    const sequence = Number(saved.sequence);
    if (lease?.openCheckpoint?.sequence !== sequence) return;
    lease.openCheckpoint = undefined;
    const { verdict } = saved;
    if (verdict === Verdict.COMMITTED || verdict === Verdict.DUPLICATE) lease.checkpointSequence = sequence;
    const refusal = saved.refusal === undefined ? "" : `${saved.refusal.reason}: ${saved.refusal.message}`;
    this.#post({ type: "checkpoint-saved", ref: lease.ref, sequence, verdict, refusal });
  }

  /** @param act the bytes of a holdfast.v1.EffectAct, which names the lease */
  effect(ref: number, requestId: string, act: Uint8Array): void {
    const lease = this.#table.byRef(ref);
    if (lease === undefined || lease.phase === "lost") return;
    lease.openActs.set(requestId, act);
    this.#sendAct(act);
  }

  #sendAct(act: Uint8Array): void {
    if (this.#outlet.isLive) this.#outlet.sendBytes("effect", [act]);
  }

  effectAnswered(bytes: Uint8Array): void {
    const { jobId, fencingToken, requestId } = fromBinary(EffectVerdictSchema, bytes);
    const lease = this.#table.heldByKey(leaseKey(jobId, Number(fencingToken)));
    if (lease?.openActs.delete(requestId) !== true) return;
    // A copy: the frame it lies in is not the session's to keep.
    this.#post({ type: "effect-verdict", ref: lease.ref, verdict: new Uint8Array(bytes) });
  }

  progress(items: readonly ProgressItem[]): void {
    const progress = items.flatMap(({ ref, percent, message }) => {
      const lease = this.#table.byRef(ref);
      if (lease === undefined || lease.phase === "lost") return [];
      const { jobId, fencingToken } = lease;
      return [{ jobId, fencingToken: BigInt(fencingToken), progress: { percent, message } }];
    });
    for (let from = 0; from < progress.length; from += progressMax) {
      this.#outlet.send("progress", ProgressReportSchema, {
        progress: progress.slice(from, from + progressMax),
      });
    }
  }
}
