// Backfills and watermarks for operators. What submits their windows is backfill-clock.ts.

import type {
  BackfillPace,
  BackfillPreview,
  BackfillRange,
  BackfillView,
  BackfillWindowView,
  WatermarkView,
} from "../domain/backfill.js";
import { Fault } from "../domain/fault.js";
import type { JobTemplate } from "../domain/job-template.js";
import type { Operator } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { BackfillChange } from "../ledger/backfills.js";
import type { Ledger } from "../ledger/ledger.js";
import { requireKinds } from "./access.js";
import { newId } from "./new-id.js";

type BackfillsLedger = Pick<
  Ledger,
  | ("previewBackfill" | "startBackfill" | "readBackfills" | "listWindows")
  | ("changeBackfill" | "readWatermarks")
>;

export class Backfills {
  readonly #ledger: BackfillsLedger;
  readonly #noteChanged: () => void;

  /** @param noteChanged a backfill may have something to do */
  constructor(ledger: BackfillsLedger, noteChanged: () => void) {
    this.#ledger = ledger;
    this.#noteChanged = noteChanged;
  }

  preview(principal: Principal, range: BackfillRange): Promise<BackfillPreview> {
    return this.#ledger.previewBackfill(principal.tenantId, range);
  }

  /** @throws Fault KIND_NOT_ALLOWED */
  async start(
    principal: Principal,
    operator: Operator,
    range: BackfillRange,
    job: JobTemplate,
    payload: Uint8Array,
    pace: BackfillPace,
  ): Promise<BackfillView> {
    requireKinds(principal, [job.kind]);
    const backfillId = newId();
    await this.#ledger.startBackfill(operator, { backfillId, range, job, payload, ...pace });
    this.#noteChanged();
    return await this.get(principal, backfillId);
  }

  /** @throws Fault BACKFILL_NOT_FOUND */
  async get(principal: Principal, backfillId: string): Promise<BackfillView> {
    const [backfill] = await this.#ledger.readBackfills(principal.tenantId, backfillId, "", 1);
    if (!backfill) throw notFound(backfillId);
    return backfill;
  }

  list(principal: Principal, beforeId: string, limit: number): Promise<BackfillView[]> {
    return this.#ledger.readBackfills(principal.tenantId, null, beforeId, limit);
  }

  /** @throws Fault BACKFILL_NOT_FOUND */
  async windows(
    principal: Principal,
    backfillId: string,
    state: number,
    afterMs: number,
    limit: number,
  ): Promise<BackfillWindowView[]> {
    await this.get(principal, backfillId);
    return await this.#ledger.listWindows(backfillId, state, afterMs, limit);
  }

  /** @throws Fault BACKFILL_NOT_FOUND, BACKFILL_ENDED */
  async change(
    principal: Principal,
    operator: Operator,
    backfillId: string,
    change: BackfillChange,
  ): Promise<BackfillView> {
    const isChanged = await this.#ledger.changeBackfill(operator, backfillId, change);
    const backfill = await this.get(principal, backfillId);
    if (!isChanged)
      throw new Fault("BACKFILL_ENDED", "The backfill has ended already.", { backfill_id: backfillId });
    this.#noteChanged();
    return backfill;
  }

  /** @throws Fault SOURCE_NOT_FOUND */
  async watermark(principal: Principal, source: string): Promise<WatermarkView> {
    const [watermark] = await this.#ledger.readWatermarks(principal.tenantId, source, "", 1);
    if (!watermark) throw new Fault("SOURCE_NOT_FOUND", "No job has declared a window of it.", { source });
    return watermark;
  }

  watermarks(principal: Principal, afterSource: string, limit: number): Promise<WatermarkView[]> {
    return this.#ledger.readWatermarks(principal.tenantId, "", afterSource, limit);
  }
}

function notFound(backfillId: string): Fault {
  return new Fault("BACKFILL_NOT_FOUND", "There is no such backfill.", { backfill_id: backfillId });
}
