// The door to the ledger. Services know this interface; SQL and the driver stay behind it.

import type { BackfillRange, NewBackfill } from "../domain/backfill.js";
import type { DeadLetterFilter, DeadLetterPlace } from "../domain/dead-letter.js";
import type { EffectName } from "../domain/effect.js";
import { Fault } from "../domain/fault.js";
import type { JobFilter } from "../domain/job-view.js";
import type { LaneKey, Ref } from "../domain/lane.js";
import type { Operator } from "../domain/operation.js";
import type { WeightChange } from "../domain/product.js";
import type { Woken } from "../domain/wait.js";
import * as keys from "./api-keys.js";
import * as audit from "./audit.js";
import * as backfills from "./backfills.js";
import * as budgets from "./budgets.js";
import { type CancelItem, type CancelResult, cancelJobs } from "./cancel-job.js";
import { claimAll } from "./claim-all.js";
import { type ClaimItem, readGrants } from "./claim-jobs.js";
import type { MeteredResult } from "./claim-metered.js";
import { compareLeases, type RememberedLease } from "./compare-leases.js";
import * as deadLetters from "./dead-letters.js";
import { dealLanePage } from "./deal-lane-page.js";
import { drawRates, type GateAsk, type GateDraw } from "./draw-rates.js";
import { type ClaimEffectItem, type ClaimEffectResult, claimEffects } from "./effect-claim.js";
import { type CompleteEffectItem, type CompleteEffectResult, completeEffects } from "./effect-complete.js";
import { type GiveBackEffectItem, type GiveBackEffectResult, giveBackEffects } from "./effect-give-back.js";
import * as effects from "./effect-read.js";
import { type RenewEffectItem, type RenewEffectResult, renewEffects } from "./effect-renew.js";
import { foldWindows, readWatermarks } from "./event-windows.js";
import { type DropDeliveriesItem, dropDeliveries, expireSessions } from "./expire-sessions.js";
import * as firing from "./fire-schedules.js";
import {
  type FiredEnds,
  type FiredReady,
  fireCancelGraces,
  fireDeadlines,
  fireReadyTimers,
  fireStartDeadlines,
  readDueTimers,
  type TimerPurpose,
} from "./fire-timers.js";
import { fireWaitTimeouts } from "./fire-wait-timeouts.js";
import * as cursors from "./forward-cursors.js";
import * as pages from "./forward-pages.js";
import * as gates from "./gates.js";
import { GroupCommit, type GroupCommitLimits, type GroupCommitObserver } from "./group-commit.js";
import * as inbox from "./inbox.js";
import { InboxListener } from "./inbox-listener.js";
import { readNotes } from "./job-notes.js";
import { JobPartitions } from "./job-partitions.js";
import * as lanes from "./lanes.js";
import * as meters from "./meters.js";
import { migrate, partitionDaysAhead } from "./migrate.js";
import { type CloseItem, closeSessions, type OpenSessionItem, openSessions } from "./open-sessions.js";
import { listOperations } from "./operations.js";
import { type FiredGraces, firePreemptGraces, type Preempted, type PreemptItem, preempt } from "./preempt.js";
import * as products from "./products.js";
import { raiseLowKeys } from "./raise-low-keys.js";
import * as fleet from "./read-fleet.js";
import * as jobs from "./read-jobs.js";
import { ReadPool } from "./read-pool.js";
import * as replays from "./read-replays.js";
import * as runs from "./read-runs.js";
import { countSuspended } from "./read-suspended.js";
import { readWaitedFor, readWaitingPlace, readWorkerNames } from "./read-waiting.js";
import { type ProgressItem, recordProgress } from "./record-progress.js";
import { recordSpend, type SpendItem } from "./record-spend.js";
import { type RenewItem, type RenewResult, renewSessions } from "./renew-sessions.js";
import { type ReopenItem, reopenParked } from "./reopen-parked.js";
import { type ReplayItem, type ReplayResult, replayJobs } from "./replay-jobs.js";
import { type ReportItem, type ReportResult, type ReportVerdict, reportResults } from "./report-results.js";
import { type ResumeResult, type ResumeSessionItem, resumeSession } from "./resume-session.js";
import { type ReturnItem, type ReturnResult, returnLeases } from "./return-leases.js";
import { type ReviveItem, type ReviveResult, reviveJobs } from "./revive-job.js";
import { type Acknowledgement, saveAcknowledgements } from "./save-acknowledgements.js";
import { type CheckpointItem, type CheckpointResult, saveCheckpoints } from "./save-checkpoints.js";
import * as schedules from "./schedules.js";
import { sessionStatements } from "./session-statements.js";
import { type SettledDelivery, settleDeliveries } from "./settle-deliveries.js";
import { listUnlockedWriters, settleWriter } from "./settle-writers.js";
import { signalLedger } from "./signal-ledger.js";
import type { AdoptResult, SubmitItem, SubmitResult } from "./submit-jobs.js";
import { type LinkedResult, type LinkedSubmit, submitLinked } from "./submit-linked.js";
import { adoptAll, submitAll } from "./submit-unique-jobs.js";
import * as windows from "./submit-windows.js";
import { type WaitItem, type WaitResult, waitForSignals } from "./wait-for-signals.js";
import { type PartitionName, readWaking, wakeOn } from "./wake-suspended.js";
import { WriterConnection } from "./writer-connection.js";

export interface LedgerOptions {
  readonly databaseUrl: string;
  readonly hubVersion: string;
  readonly readConnectionsMax: number;
  readonly limits: GroupCommitLimits;
  readonly observer: GroupCommitObserver;
  readonly onReadError: (error: Error) => void;
}

/** How long callers wait for a ledger that is away. */
export const patience = {
  /** Somebody waits for an answer: fail fast. */
  callMs: 2_000,
  /** A worker's own data, which it keeps until the verdict: the stream outlasts a restart of the server. */
  streamMs: 60_000,
} as const;

/** One result per item, in order; a Fault for an item that the ledger refused by itself. */
export type Committed<Result> = Promise<readonly (Result | Fault)[]>;

export type Ledger = Awaited<ReturnType<typeof openLedger>>;

/**
 * Migrates the database and opens the ledger of one life of a hub.
 *
 * @throws when the database cannot be reached or migrated
 */
export async function openLedger(options: LedgerOptions) {
  const migration = await migrate(options.databaseUrl);
  const connection = new WriterConnection(options.databaseUrl, options.hubVersion);
  await connection.open();
  const db = new ReadPool(options.databaseUrl, options.readConnectionsMax, options.onReadError);
  const partitions = new JobPartitions();
  try {
    await partitions.read(db);
  } catch (error) {
    await Promise.all([connection.close(), db.end()]);
    throw error;
  }
  const writes = new GroupCommit(connection, partitions, options.limits, sessionStatements, options.observer);
  const one = async <Result>(results: Committed<Result>): Promise<Result> => (await results)[0] as Result;

  return {
    migration,
    /** The number that this hub began with, and is known to others by. */
    writerId: connection.writerId,
    /** The number that it writes under now. */
    currentWriterId: () => connection.writerId,
    queuedItems: () => writes.queuedItems,
    isConnected: () => connection.isOpen,

    submit: (items: readonly SubmitItem[]): Committed<SubmitResult> =>
      submitAll(writes, items, patience.callMs),
    submitLinked: (item: LinkedSubmit): Promise<LinkedResult> =>
      one(writes.commit(submitLinked, [item], patience.callMs)),
    replay: (item: ReplayItem): Promise<ReplayResult> =>
      one(writes.commit(replayJobs, [item], patience.callMs)),
    readReplaySource: (tenantId: number, jobId: string) => replays.readReplaySource(db, tenantId, jobId),
    readReplay: (tenantId: number, id: string) => replays.readReplay(db, tenantId, id),
    readReplayedJobs: (replayId: string, afterId: string, limit: number) =>
      replays.readReplayedJobs(db, replayId, afterId, limit),
    findKeys: (tenantId: number, keys: readonly string[]) => runs.findKeys(db, tenantId, keys),
    readDag: (tenantId: number, jobId: string, afterId: string, limit: number) =>
      runs.readDag(db, tenantId, jobId, afterId, limit),
    readChildren: (tenantId: number, runId: string, bounds: runs.ChildrenBounds) =>
      runs.readChildren((query) => db.query(query), tenantId, runId, bounds),
    /**
     * Rejects with SUPERSEDED when another hub holds a session by now; what was granted before, that hub takes over. Rejects
     * with BACKLOG_FULL when nothing was granted.
     */
    claim: async (items: readonly ClaimItem[]): Committed<Exclude<MeteredResult, "superseded">> => {
      const queuedItems = writes.queuedItems;
      const claiming = claimAll(writes, items, patience.streamMs);
      // What has room goes into the queue in this very moment.
      const isTried = writes.queuedItems > queuedItems;
      const results = await claiming.catch((error: unknown) => {
        throw isTried ? unknownInPart(error) : error;
      });
      return results.map((result) => {
        if (result !== "superseded") return result;
        throw new Fault("SUPERSEDED", "Another hub holds this session by now.");
      });
    },
    readMeterLevels: (meterIds: readonly number[]) => meters.readMeterLevels(db, meterIds),
    readParkedAsks: (meterId: number, limit: number) => meters.readParkedAsks(db, meterId, limit),
    readParkedHeads: (meterIds: readonly number[]) => meters.readParkedHeads(db, meterIds),
    readKeyLevel: (tenantId: number, key: string) => meters.readKeyLevel(db, tenantId, key),
    forgetIdleKeys: (idleMs: number, limit: number) => meters.forgetIdleKeys(db, idleMs, limit),
    /** Jobs that were linked only after their leases were granted are noticed by the ledger, and reported again. */
    report: async (items: readonly ReportItem[]): Committed<ReportVerdict> => {
      // Before the result: that ends the lease, and what it holds is settled at what was said by then.
      const spends = items.flatMap((item) => (item.spend ? [{ ...item, ...item.spend }] : []));
      if (spends.length > 0) await writes.commit(recordSpend, spends, patience.streamMs);
      const results = await writes.commit(reportResults, items, patience.streamMs);
      const linked = items.filter((_, at) => isLeftAsLinked(results[at]));
      if (linked.length === 0) return results as readonly (ReportVerdict | Fault)[];
      const again = linked.map((item) => ({ ...item, isLinked: true }));
      const verdicts = [...(await writes.commit(reportResults, again, patience.streamMs))];
      return results.map((result) => {
        const verdict = isLeftAsLinked(result) ? verdicts.shift() : result;
        if (verdict === undefined || isLeftAsLinked(verdict))
          throw new Error("A result that was reported as linked was left alone.");
        return verdict;
      });
    },
    /** Takes the seat of a job of lower priority for a critical one; null when there is none to take. */
    preempt: (item: PreemptItem): Promise<Preempted | null> =>
      one(writes.commit(preempt, [item], patience.callMs)),
    firePreemptGraces: (limit: number): Promise<FiredGraces> =>
      one(writes.commit(firePreemptGraces, [limit], patience.callMs)),
    recordSpend: (items: readonly SpendItem[]): Committed<boolean> =>
      writes.commit(recordSpend, items, patience.streamMs),
    returnLeases: (items: readonly ReturnItem[]): Committed<ReturnResult> =>
      writes.commit(returnLeases, items, patience.streamMs),
    saveCheckpoints: (items: readonly CheckpointItem[]): Committed<CheckpointResult> =>
      writes.commit(saveCheckpoints, items, patience.streamMs),
    recordProgress: (items: readonly ProgressItem[]): Committed<boolean> =>
      writes.commit(recordProgress, items, patience.callMs),
    cancel: (item: CancelItem): Promise<CancelResult> =>
      one(writes.commit(cancelJobs, [item], patience.callMs)),
    revive: (item: ReviveItem): Promise<ReviveResult> =>
      one(writes.commit(reviveJobs, [item], patience.callMs)),
    reviveAll: (items: readonly ReviveItem[]): Committed<ReviveResult> =>
      writes.commit(reviveJobs, items, patience.callMs),
    walkDeadLetters: (tenantId: number, filter: DeadLetterFilter, after: DeadLetterPlace, scanMax: number) =>
      deadLetters.walkDeadLetters(db, tenantId, filter, after, scanMax),
    readDeadLetters: (tenantId: number, jobIds: readonly string[]) =>
      deadLetters.readDeadLetters(db, tenantId, jobIds),
    resolveDeadLetters: (operator: Operator, jobIds: readonly string[]) =>
      deadLetters.resolveDeadLetters(db, operator, jobIds),
    readDueTimers: (): Promise<readonly TimerPurpose[]> =>
      one(writes.commit(readDueTimers, [null], patience.callMs)),
    fireReadyTimers: (limit: number): Promise<FiredReady> =>
      one(writes.commit(fireReadyTimers, [limit], patience.callMs)),
    fireDeadlines: (limit: number): Promise<FiredEnds> =>
      one(writes.commit(fireDeadlines, [limit], patience.callMs)),
    fireStartDeadlines: (limit: number): Promise<FiredEnds> =>
      one(writes.commit(fireStartDeadlines, [limit], patience.callMs)),
    fireCancelGraces: (limit: number): Promise<FiredEnds> =>
      one(writes.commit(fireCancelGraces, [limit], patience.callMs)),
    fireWaitTimeouts: (limit: number): Promise<Woken> =>
      one(writes.commit(fireWaitTimeouts, [limit], patience.callMs)),

    waitForSignal: (item: WaitItem): Promise<WaitResult> =>
      one(writes.commit(waitForSignals, [item], patience.streamMs)) as Promise<WaitResult>,
    /** Partitions where jobs were left that a publish should have woken. */
    readWaking: () => readWaking(db),
    wakeOn: (partitions: readonly PartitionName[]): Promise<Woken> =>
      one(writes.commit(wakeOn, [partitions], patience.callMs)),
    countSuspended: () => countSuspended(db),

    claimEffects: (items: readonly ClaimEffectItem[], patienceMs: number): Committed<ClaimEffectResult> =>
      writes.commit(claimEffects, items, patienceMs),
    renewEffects: (items: readonly RenewEffectItem[], patienceMs: number): Committed<RenewEffectResult> =>
      writes.commit(renewEffects, items, patienceMs),
    completeEffects: (
      items: readonly CompleteEffectItem[],
      patienceMs: number,
    ): Committed<CompleteEffectResult> => writes.commit(completeEffects, items, patienceMs),
    giveBackEffects: (
      items: readonly GiveBackEffectItem[],
      patienceMs: number,
    ): Committed<GiveBackEffectResult> => writes.commit(giveBackEffects, items, patienceMs),
    readEffect: (tenantId: number, name: EffectName) => effects.readEffect(db, tenantId, name),
    listEffects: (
      tenantId: number,
      owner: Pick<EffectName, "jobId" | "scope">,
      afterKey: string,
      limit: number,
    ) => effects.listEffects(db, tenantId, owner, afterKey, limit),

    openSession: (item: OpenSessionItem): Promise<true> =>
      one(writes.commit(openSessions, [item], patience.callMs)),
    resumeSession: (item: ResumeSessionItem): Promise<ResumeResult> =>
      one(writes.commit(resumeSession, [item], patience.callMs)),
    renewSessions: (items: readonly RenewItem[]): Committed<RenewResult> =>
      writes.commit(renewSessions, items, patience.streamMs),
    saveAcknowledgement: (item: Acknowledgement): Promise<true> =>
      one(writes.commit(saveAcknowledgements, [item], patience.callMs)),
    settleDeliveries: (items: readonly SettledDelivery[]): Committed<true> =>
      writes.commit(settleDeliveries, items, patience.callMs),
    closeSession: (item: CloseItem): Promise<true> =>
      one(writes.commit(closeSessions, [item], patience.callMs)),
    expireSessions: (limit: number): Promise<readonly string[]> =>
      one(writes.commit(expireSessions, [limit], patience.callMs)),
    dropDeliveries: (item: DropDeliveriesItem): Promise<true> =>
      one(writes.commit(dropDeliveries, [item], patience.callMs)),
    readExpiredSessions: (sessionsMax: number, deliveriesMax: number) =>
      fleet.readExpiredSessions(db, sessionsMax, deliveriesMax),
    readDelivery: (sessionId: string, delivery: number) => fleet.readDelivery(db, sessionId, delivery),
    listSessions: (tenantId: number, beforeId: string, limit: number) =>
      fleet.listSessions(db, tenantId, beforeId, limit),
    listHubs: (tenantId: number) => fleet.listHubs(db, tenantId),
    readFacts: () => fleet.readLedgerFacts(db),

    listLanes: () => lanes.listLanes(db),
    listLanesAfter: (laneId: number) => lanes.listLanesAfter(db, laneId),
    readLanePage: (laneId: number, afterKey: number, limit: number): Promise<Ref[]> =>
      lanes.readLanePage(db, laneId, afterKey, limit),
    readStragglers: (afterJobId: string, scanMax: number) => lanes.readStragglers(db, afterJobId, scanMax),
    ensureLane: (key: LaneKey, fairnessWeight: number, lanesMax: number) =>
      lanes.ensureLane(db, key, fairnessWeight, lanesMax),
    readProductsSince: (sinceMs: number) => products.readProductsSince(db, sinceMs),
    readProduct: (tenantId: number, name: string) => products.readProduct(db, tenantId, name),
    listProducts: (tenantId: number, afterName: string, limit: number) =>
      products.listProducts(db, tenantId, afterName, limit),
    setProductWeights: (operator: Operator, name: string, change: WeightChange, productsMax: number) =>
      products.setProductWeights(db, operator, name, change, productsMax),
    declareWeights: (weights: readonly lanes.KeyWeight[]) => lanes.declareWeights(db, weights),
    readNewWeights: () => lanes.readNewWeights(db),
    dealLanePage: (laneId: number, afterKey: number, throughKey: number, limit: number): Promise<Ref[]> =>
      dealLanePage(db, laneId, afterKey, throughKey, limit),
    raiseLowKeys: (laneIds: readonly number[], throughKey: number) => raiseLowKeys(db, laneIds, throughKey),
    /** The partition of jobs of one day, if it is missing. */
    ensureJobPartition: (atMs: number) =>
      db.query("select ensure_job_partition(to_timestamp($1::float8 / 1000))", [atMs]),
    ensurePartitions: async (): Promise<void> => {
      await db.query("select ensure_partitions($1)", [partitionDaysAhead]);
      await partitions.read(db);
      if (connection.isOpen) await partitions.forgetPast(connection);
    },

    /** Makes jobs of entries of the inbox, each at most once, whichever hub does. */
    adopt: (items: readonly SubmitItem[]): Committed<AdoptResult> => adoptAll(writes, items, patience.callMs),
    readInbox: (afterPosition: number, limit: number) => inbox.readInbox(db, afterPosition, limit),
    settleInbox: (existing: readonly string[], refused: Parameters<typeof inbox.settleInbox>[2]) =>
      inbox.settleInbox(db, existing, refused),
    listenToInbox: (onWake: () => void, onError: (error: unknown) => void) =>
      new InboxListener(options.databaseUrl, onWake, onError),
    listInbox: (tenantId: number, refusedOnly: boolean, beforeId: string, limit: number) =>
      inbox.listInbox(db, tenantId, refusedOnly, beforeId, limit),
    retryInboxEntry: (operator: Operator, jobId: string) => inbox.retryInboxEntry(db, operator, jobId),
    discardInboxEntry: (operator: Operator, jobId: string) => inbox.discardInboxEntry(db, operator, jobId),
    hasInboxEntry: (tenantId: number, jobId: string) => inbox.hasInboxEntry(db, tenantId, jobId),

    readJob: (tenantId: number, jobId: string) => jobs.readJob(db, tenantId, jobId),
    listJobs: (tenantId: number, filter: JobFilter, beforeId: string, limit: number) =>
      jobs.listJobs(db, tenantId, filter, beforeId, limit),
    readWaitingPlace: (tenantId: number, jobId: string) => readWaitingPlace(db, tenantId, jobId),
    readWaitedFor: (jobId: string) => readWaitedFor(db, jobId),
    readWorkerNames: (tenantId: number, sessionIds: readonly string[]) =>
      readWorkerNames(db, tenantId, sessionIds),
    readNotes: (tenantId: number, jobId: string) => readNotes(db, tenantId, jobId),
    readReportedTokens: (tenantId: number, jobIds: readonly string[]) =>
      jobs.readReportedTokens(db, tenantId, jobIds),
    compareLeases: (leases: readonly RememberedLease[]) => compareLeases(db, leases),
    readGrants: (sessionId: string, jobIds: readonly string[]) => readGrants(db, sessionId, jobIds),
    readHistory: (tenantId: number, jobId: string, afterRevision: number, limit: number) =>
      jobs.readHistory(db, tenantId, jobId, afterRevision, limit),

    readGates: () => gates.readGates(db),
    readGateEpoch: () => gates.readGateEpoch(db),
    setGate: (...change: DropFirst<Parameters<typeof gates.setGate>>) => gates.setGate(db, ...change),
    changeGate: (...change: DropFirst<Parameters<typeof gates.changeGate>>) =>
      gates.changeGate(db, ...change),
    removeGate: (...change: DropFirst<Parameters<typeof gates.removeGate>>) =>
      gates.removeGate(db, ...change),
    /** Draws starts from rate gates for this hub, and tells what became of earlier ones. */
    drawRates: (items: readonly GateAsk[]): Promise<readonly GateDraw[]> => drawRates(db, items),
    readParked: (gateIds: readonly number[], countMax: number) => gates.readParked(db, gateIds, countMax),
    readParking: (jobId: string) => gates.readParking(db, jobId),
    listParkedGates: (afterId: number, limit: number) => gates.listParkedGates(db, afterId, limit),
    /** Parked jobs of one gate become ready, in score order. */
    reopenParked: (item: ReopenItem): Promise<readonly Ref[]> =>
      one(writes.commit(reopenParked, [item], patience.callMs)),

    accrueSpend: (...accrual: DropFirst<Parameters<typeof budgets.accrueSpend>>) =>
      budgets.accrueSpend(db, ...accrual),
    tellBudget: (...notice: DropFirst<Parameters<typeof budgets.tellBudget>>) =>
      budgets.tellBudget(db, ...notice),
    isTimeZone: (name: string) => budgets.isTimeZone(db, name),

    listOperations: (tenantId: number, target: string, beforeId: string, limit: number) =>
      listOperations(db, tenantId, target, beforeId, limit),
    readUnsealedTenants: () => audit.readUnsealedTenants(db),
    readSealedTenants: () => audit.readSealedTenants(db),
    readUnsealed: (tenantId: number, seenNumber: number, limit: number) =>
      audit.readUnsealed(db, tenantId, seenNumber, limit),
    readSealTexts: (tenantId: number, from: number, limit: number) =>
      audit.readSealTexts(db, tenantId, from, limit),
    writeSeal: (...seal: DropFirst<Parameters<typeof audit.writeSeal>>) => audit.writeSeal(db, ...seal),
    readAuditHead: (tenantId: number, countMax: number) => audit.readAuditHead(db, tenantId, countMax),
    readSeals: (tenantId: number, from: number, limit: number) => audit.readSeals(db, tenantId, from, limit),

    readSchedule: (tenantId: number, name: string) => schedules.readSchedule(db, tenantId, name),
    listSchedules: (tenantId: number, afterName: string, limit: number) =>
      schedules.listSchedules(db, tenantId, afterName, limit),
    createSchedule: (operator: Operator, schedule: schedules.NewSchedule) =>
      schedules.createSchedule(db, operator, schedule),
    changeSchedule: (
      operator: Operator,
      read: Parameters<typeof schedules.changeSchedule>[2],
      change: schedules.ScheduleChange,
    ) => schedules.changeSchedule(db, operator, read, change),
    deleteSchedule: (operator: Operator, name: string) => schedules.deleteSchedule(db, operator, name),
    readDueSchedules: (limit: number) => firing.readDueSchedules(db, limit),
    fireSchedule: (
      read: Parameters<typeof firing.fireSchedule>[1],
      decided: Parameters<typeof firing.fireSchedule>[2],
      jobs: readonly firing.FiredJob[],
      triggering: firing.Triggering,
    ) => firing.fireSchedule(db, read, decided, jobs, triggering),

    previewBackfill: (tenantId: number, range: BackfillRange) =>
      backfills.previewBackfill(db, tenantId, range),
    startBackfill: (operator: Operator, backfill: NewBackfill) =>
      backfills.startBackfill(db, operator, backfill),
    readBackfills: (tenantId: number, backfillId: string | null, beforeId: string, limit: number) =>
      backfills.readBackfills(db, tenantId, backfillId, beforeId, limit),
    listWindows: (backfillId: string, state: number, afterMs: number, limit: number) =>
      backfills.listWindows(db, backfillId, state, afterMs, limit),
    changeBackfill: (operator: Operator, backfillId: string, change: backfills.BackfillChange) =>
      backfills.changeBackfill(db, operator, backfillId, change),
    readActiveBackfills: (afterId: string, limit: number) => windows.readActiveBackfills(db, afterId, limit),
    submitWindows: (backfill: windows.ActiveBackfill) => windows.submitWindows(db, backfill),
    finishBackfill: (backfillId: string) => windows.finishBackfill(db, backfillId),
    stopWindows: (backfillId: string) => windows.stopWindows(db, backfillId),
    countActiveWindows: () => windows.countActiveWindows(db),
    foldWindows: () => foldWindows(db),
    readWatermarks: (tenantId: number, name: string, afterSource: string, limit: number) =>
      readWatermarks(db, tenantId, name, afterSource, limit),

    beginSink: (sink: string) => cursors.beginSink(db, sink, connection.writerId),
    makeCursors: (sink: string) => cursors.makeCursors(db, sink),
    claimCursor: (sink: string, writerId: number, hubId: number, ttlMs: number) =>
      cursors.claimCursor(db, sink, writerId, hubId, ttlMs),
    saveCursor: (
      sink: string,
      claim: cursors.ForwardClaim,
      hubId: number,
      next: Parameters<typeof cursors.saveCursor>[4],
    ) => cursors.saveCursor(db, sink, claim, hubId, next),
    listUnclaimed: (sink: string, graceMs: number, limit: number) =>
      cursors.listUnclaimed(db, sink, graceMs, limit),
    settleWriter: (writerId: number) => settleWriter(db, writerId),
    listUnlockedWriters: () => listUnlockedWriters(db),
    readForwardMarks: (sink: string, writerIds: readonly number[]) =>
      cursors.readForwardMarks(db, sink, writerIds),
    readForwarding: (sink: string, limit: number) => cursors.readForwarding(db, sink, limit),
    readPages: (after: cursors.ForwardClaim, pagesMax: number) => pages.readPages(db, after, pagesMax),
    readEvents: (wanted: readonly pages.WantedEvents[]) => pages.readEvents(db, wanted),
    readDroppedPages: (sink: string, after: cursors.ForwardClaim) => pages.readDroppedPages(db, sink, after),

    signals: signalLedger(writes, db, patience),

    hasKeys: () => keys.hasKeys(db),
    readGoodKeys: (keyIds: readonly string[]) => keys.readGoodKeys(db, keyIds),
    findGoodKey: (keyId: string) => keys.findGoodKey(db, keyId),
    insertKey: (operator: Operator, key: keys.NewKey) => keys.insertKey(db, operator, key),
    listKeys: (tenantId: number, before: Parameters<typeof keys.listKeys>[2], limit: number) =>
      keys.listKeys(db, tenantId, before, limit),
    revokeKey: (operator: Operator, tenantId: number | null, keyId: string) =>
      keys.revokeKey(db, operator, tenantId, keyId),
    findTenant: (name: string) => keys.findTenant(db, name),

    /** Finishes what is queued, then ends this life's writer number and every connection. */
    stop: async (): Promise<void> => {
      await writes.stop();
      await connection.close();
      await db.end();
    },
  };
}

type DropFirst<List extends readonly unknown[]> = List extends readonly [unknown, ...infer Rest]
  ? Rest
  : never;

/** The queue had no room for a part of a call: what became of the others nobody has waited for. */
function unknownInPart(error: unknown): unknown {
  if (!(error instanceof Fault) || error.reason !== "BACKLOG_FULL") return error;
  return new Fault(
    "LEDGER_UNAVAILABLE",
    "The ledger took a part of the call only.",
    {},
    { retryAfterMs: 500, cause: error },
  );
}

function isLeftAsLinked(result: ReportResult | Fault | undefined): result is { readonly type: "linked" } {
  return result !== undefined && !(result instanceof Fault) && result.type === "linked";
}
