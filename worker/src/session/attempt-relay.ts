import { fromBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { EffectVerdictSchema } from "@holdfast/gen/holdfast/v1/effect_pb";
import { WaitVerdictSchema } from "@holdfast/gen/holdfast/v1/wait_pb";
import {
  type CheckpointSaved,
  CheckpointSchema,
  ProgressReportSchema,
  SpendReportSchema,
  ThrottleReportSchema,
  Verdict,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { ProgressItem, ToRunner } from "../port.js";
import type { Spent } from "../wire/spend-field.js";
import type { LeaseTable, TabledLease } from "./lease-table.js";
import type { Outlet } from "./outlet.js";

/** Most entries of one progress message. */
const progressMax = 1_000;

/**
 * Passes on what running attempts say before they end. A checkpoint, an act on an effect and a wait for a signal are
 * sent until they are answered, again on every new stream on which their lease still stands (D7, D16); the runner has at
 * most one checkpoint and one wait open for each lease, and one act for each effect. Progress and throttling are best
 * effort: what cannot be sent now is not worth sending later.
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
      if (lease.openWait !== undefined) this.#sendWait(lease.openWait.wait);
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
    const lease = this.#table.heldAs(saved.jobId, Number(saved.fencingToken));
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
    const lease = this.#table.heldAs(jobId, Number(fencingToken));
    if (lease?.openActs.delete(requestId) !== true) return;
    // A copy: the frame it lies in is not the session's to keep.
    this.#post({ type: "effect-verdict", ref: lease.ref, verdict: new Uint8Array(bytes) });
  }

  /** @param wait the bytes of a holdfast.v1.Wait, which names the lease */
  wait(ref: number, requestId: string, wait: Uint8Array): void {
    const lease = this.#table.byRef(ref);
    if (lease === undefined || lease.phase === "lost") return;
    lease.openWait = { requestId, wait };
    this.#sendWait(wait);
  }

  #sendWait(wait: Uint8Array): void {
    if (this.#outlet.isLive) this.#outlet.sendBytes("wait", [wait]);
  }

  waitAnswered(bytes: Uint8Array): void {
    const { jobId, fencingToken, requestId, answer } = fromBinary(WaitVerdictSchema, bytes);
    const lease = this.#table.heldAs(jobId, Number(fencingToken));
    if (lease?.openWait?.requestId !== requestId) return;
    lease.openWait = undefined;
    if (answer.case === "suspended") {
      // Its place is the runner's until that has answered, as with any lease that has ended elsewhere.
      this.#table.lose(lease);
      this.#post({ type: "suspended", ref: lease.ref });
    } else this.#post({ type: "wait-verdict", ref: lease.ref, verdict: new Uint8Array(bytes) });
  }

  throttled(ref: number, retryAfterMs: number): void {
    const lease = this.#table.byRef(ref);
    if (lease === undefined || lease.phase === "lost") return;
    const { jobId, fencingToken } = lease;
    this.#outlet.send("throttle", ThrottleReportSchema, {
      jobId,
      fencingToken: BigInt(fencingToken),
      retryAfter: durationFromMs(retryAfterMs),
    });
  }

  /** Best effort too: the result says it again, and this only matters if there comes none. */
  spend(ref: number, { costMicroUsd, tokens }: Spent): void {
    const lease = this.#table.byRef(ref);
    if (lease === undefined || lease.phase === "lost") return;
    const spend = { costMicroUsd: BigInt(costMicroUsd), tokens: BigInt(tokens) };
    const { jobId, fencingToken } = lease;
    this.#outlet.send("spend", SpendReportSchema, {
      spends: [{ jobId, fencingToken: BigInt(fencingToken), spend }],
    });
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
