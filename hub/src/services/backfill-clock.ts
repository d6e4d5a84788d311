// Submits windows of backfills at their pace, and folds what is done. Every hub looks; the ledger lets one write
// (ledger/submit-windows.ts).
import type { CancelItem } from "../ledger/cancel-job.js";
import type { Ledger } from "../ledger/ledger.js";
import type { ActiveBackfill } from "../ledger/submit-windows.js";
import { Rounds } from "./rounds.js";

const roundPauseMs = 500;
const backfillsPerReadMax = 100;
const foldPauseMs = 5_000;
const foldsInRowMax = 20;

type ClockLedger = Pick<
  Ledger,
  | ("readActiveBackfills" | "submitWindows" | "finishBackfill")
  | ("stopWindows" | "foldWindows" | "countActiveWindows")
>;

export interface BackfillObserver {
  readonly submitted: (windows: number) => void;
  /** Found done, and skipped. */
  readonly skipped: (windows: number) => void;
  /** Windows of running backfills, by state. */
  readonly counted: (windows: ReadonlyMap<number, number>) => void;
  readonly failed: (error: unknown) => void;
}

export class BackfillClock {
  readonly #ledger: ClockLedger;
  readonly #cancel: (item: CancelItem) => Promise<unknown>;
  readonly #observer: BackfillObserver;
  readonly #submitting: Rounds;
  readonly #folding: Rounds;

  constructor(
    ledger: ClockLedger,
    cancel: (item: CancelItem) => Promise<unknown>,
    observer: BackfillObserver,
  ) {
    this.#ledger = ledger;
    this.#cancel = cancel;
    this.#observer = observer;
    this.#submitting = new Rounds(() => this.#round(), roundPauseMs, observer.failed);
    this.#folding = new Rounds(() => this.#fold(), foldPauseMs, observer.failed);
  }

  start(): void {
    this.#submitting.start();
    this.#folding.start();
  }

  /** A backfill may have something to do. */
  hurry(): void {
    this.#submitting.hurry();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#submitting.stop(), this.#folding.stop()]);
  }

  async #round(): Promise<void> {
    let afterId = "00000000-0000-0000-0000-000000000000";
    for (;;) {
      const backfills = await this.#ledger.readActiveBackfills(afterId, backfillsPerReadMax);
      for (const backfill of backfills) {
        // What one backfill cannot do keeps no other waiting.
        try {
          await (backfill.cancelGraceMs === null ? this.#submit(backfill) : this.#stopOpen(backfill));
        } catch (error) {
          this.#observer.failed(error);
        }
      }
      const last = backfills.at(-1);
      if (!last || backfills.length < backfillsPerReadMax) return;
      afterId = last.backfillId;
    }
  }

  async #submit(backfill: ActiveBackfill): Promise<void> {
    const { submitted, skipped } = await this.#ledger.submitWindows(backfill);
    if (submitted > 0) this.#observer.submitted(submitted);
    if (skipped > 0) this.#observer.skipped(skipped);
    if (submitted === 0) await this.#ledger.finishBackfill(backfill.backfillId);
  }

  /** Looked at again until none is open, so that a hub that crashed here leaves nothing undone. */
  async #stopOpen({ backfillId, tenantId, cancelGraceMs }: ActiveBackfill): Promise<void> {
    for (const jobId of await this.#ledger.stopWindows(backfillId))
      await this.#cancel({
        jobId,
        tenantId,
        reason: `backfill ${backfillId} was cancelled`,
        graceMs: cancelGraceMs ?? 0,
      });
    await this.#ledger.finishBackfill(backfillId);
  }

  async #fold(): Promise<void> {
    for (let folds = 0; folds < foldsInRowMax; folds += 1)
      if ((await this.#ledger.foldWindows()) === 0) break;
    this.#observer.counted(await this.#ledger.countActiveWindows());
  }
}
