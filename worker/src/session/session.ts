import { create } from "@bufbuild/protobuf";
import {
  type CheckpointSaved,
  DrainRequestSchema,
  type Hello,
  HelloSchema,
  type Revoke,
  type Welcome,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { Journal, type JournaledResult, type RecoveredJournal } from "../journal/journal.js";
import type { JournalDisk } from "../journal/journal-disk.js";
import type { LogEvent } from "../log.js";
import type { Port, SessionFailure, ToRunner, ToSession } from "../port.js";
import type { EncodedResults } from "../wire/result-batch.js";
import { scanVerdicts } from "../wire/verdict-scan.js";
import { Attachment, type AttachmentEvents } from "./attachment.js";
import type { AttachmentEnd } from "./attachment-end.js";
import { AttemptRelay } from "./attempt-relay.js";
import { LeaseDesk } from "./lease-desk.js";
import type { TabledLease } from "./lease-table.js";
import { Outlet } from "./outlet.js";
import { ResultKeeper } from "./result-keeper.js";
import type { SessionPlan } from "./session-plan.js";
import { type StreamLimits, streamLimits } from "./stream-limits.js";
import { Supervisor } from "./supervisor.js";
import { TrustWatch } from "./trust-watch.js";
import { trustedUntil } from "./trust-window.js";

/** Version of the protocol that this worker speaks. */
const protocolVersion = 1;

/** Leases that one hello may name. */
const helloHeldMax = 100_000;

/**
 * One worker's session: it outlives streams and, through the journal, the process. It owns what the worker holds
 * (leases, results, checkpoints) and says it to each hub that the supervisor finds.
 *
 * Leaving has two steps, both asked for by the runner: after "drain" leases that still come are given straight back;
 * after "finish" every lease has been answered, and the session ends once the verdicts are in, or their time is over.
 */
export class Session implements AttachmentEvents {
  readonly #plan: SessionPlan;
  readonly #port: Port<ToRunner, ToSession>;
  readonly #outlet = new Outlet();
  readonly #desk: LeaseDesk;
  readonly #results: ResultKeeper;
  readonly #journal: Journal | undefined;
  readonly #relay: AttemptRelay;
  readonly #supervisor: Supervisor;
  readonly #trust: TrustWatch;
  #sessionId: string;
  #attachment: Attachment | undefined;
  #address = "";
  #limits: StreamLimits = streamLimits(undefined);
  #leaving: "no" | "draining" | "finishing" | "out of time" = "no";
  #finishTimer: NodeJS.Timeout | undefined;
  #isJournalStalled = false;
  #isFlushDue = false;

  constructor(
    plan: SessionPlan,
    port: Port<ToRunner, ToSession>,
    disk: JournalDisk,
    recovered: RecoveredJournal,
  ) {
    this.#plan = plan;
    this.#port = port;
    this.#sessionId = recovered.sessionId;
    const post = port.post.bind(port);
    let journal: Journal | undefined;
    this.#results = new ResultKeeper(recovered.results, (openResults) => {
      journal = this.#openJournal(disk, recovered.sessionId, openResults);
      return journal;
    });
    this.#journal = journal;
    const window = { jobs: plan.heldJobsMax, bytes: plan.heldBytesMax };
    this.#desk = new LeaseDesk(window, this.#outlet, post, (key) => this.#results.has(key));
    this.#relay = new AttemptRelay(this.#desk.table, this.#outlet, post);
    this.#trust = new TrustWatch(
      () => this.#onTrustPassed(),
      (since, now) => this.#expireDisconnected(since, now),
    );
    this.#supervisor = new Supervisor({
      addresses: plan.access.addresses,
      backoff: plan.tuning.backoff,
      attach: (address) => this.#attach(address),
      isDone: () => this.#isDone(),
      onState: (state) => port.post({ type: "state", state }),
      onEnd: (end) => this.#onStreamEnd(end),
      random: Math.random,
    });
  }

  /** Runs until the worker is done or cannot go on; returns why it could not. */
  async run(): Promise<SessionFailure | undefined> {
    this.#port.onMessage((message) => this.#onMessage(message));
    const failure = await this.#supervisor.run();
    this.#trust.stop();
    clearTimeout(this.#finishTimer);
    this.#logLeftovers();
    await this.#journal?.close();
    return failure;
  }

  // From the runner

  #onMessage(message: ToSession): void {
    switch (message.type) {
      case "results":
        return this.#onResults(message);
      case "released":
        this.#desk.release(message.refs, message.isStarted);
        return this.#scheduleFlush();
      case "checkpoint":
        return this.#relay.checkpoint(message.ref, message.sequence, message.state);
      case "progress":
        return this.#relay.progress(message.items);
      case "drain":
        if (this.#leaving === "no") this.#leaving = "draining";
        return this.#sayDrain();
      case "finish":
        return this.#finish();
    }
  }

  #onResults(encoded: EncodedResults): void {
    const { results, report, creditBytes } = this.#desk.endWithResults(encoded);
    this.#scheduleFlush();
    if (results.length === 0) return;
    this.#results.accept(results, report, () => {
      this.#desk.creditBack(results.length, creditBytes);
      this.#scheduleFlush();
    });
  }

  // Streams

  #attach(address: string): Promise<AttachmentEnd> {
    const { access, tuning } = this.#plan;
    this.#desk.beginHello();
    this.#address = address;
    const options = { access, address, hello: this.#hello(), welcomeWithinMs: tuning.welcomeWithinMs };
    this.#attachment = new Attachment(options, this);
    this.#outlet.follow(this.#attachment);
    return this.#attachment.ended;
  }

  /** Names everything the worker still holds, results first: they are what must not be done again. */
  #hello(): Hello {
    const { name, kinds, capabilities, products, queues } = this.#plan.worker;
    const held = [];
    if (this.#sessionId !== "") {
      for (const { jobId, fencingToken } of this.#results.open()) {
        held.push({ jobId, fencingToken: BigInt(fencingToken) });
      }
      for (const { jobId, fencingToken, checkpointSequence } of this.#desk.table.held()) {
        held.push({
          jobId,
          fencingToken: BigInt(fencingToken),
          checkpointSequence: BigInt(checkpointSequence),
        });
      }
    }
    return create(HelloSchema, {
      protocolVersion,
      workerName: name,
      kinds: [...kinds],
      capabilities: [...capabilities],
      products: [...products],
      queues: [...queues],
      sessionId: this.#sessionId,
      held: held.slice(0, helloHeldMax),
    });
  }

  onConnected(): void {
    this.#supervisor.enter({ name: "attaching", address: this.#address });
  }

  onWelcome(welcome: Welcome, { helloSentAt, ttlMs }: { helloSentAt: number; ttlMs: number }): void {
    const { sessionId, resumed: isResumed, hubVersion } = welcome;
    const address = this.#address;
    if (sessionId !== this.#sessionId) this.#desk.deliveredThrough = 0;
    this.#sessionId = sessionId;
    this.#journal?.setSession(sessionId);
    this.#limits = streamLimits(welcome.limits);
    const { resultBytesMax, checkpointBytesMax } = this.#limits;
    this.#port.post({ type: "attached", resultBytesMax, checkpointBytesMax });
    this.#supervisor.enter({ name: "live", address, sessionId, isResumed });
    this.#log("info", "attached", `${isResumed ? "resumed" : "opened"} session ${sessionId} at ${address}`, {
      address,
      sessionId,
      isResumed,
      hubVersion,
    });
    this.#desk.beginStream();
    this.#trust.heard(trustedUntil(helloSentAt, ttlMs, ttlMs), true);
    this.#judgeHeld(welcome);
    this.#relay.resend();
    this.#results.resend();
    if (this.#leaving !== "no") this.#sayDrain();
    this.#flush();
    this.#leaveIfDone();
  }

  #judgeHeld(welcome: Welcome): void {
    let lost = 0;
    let reported = 0;
    for (const verdict of welcome.held) {
      const fate = this.#desk.judge(verdict);
      if (fate === "lost") lost++;
      if (fate === "reported" && this.#results.settleReported(verdict.jobId, Number(verdict.fencingToken)))
        reported++;
    }
    if (lost > 0) this.#log("warn", "leases-lost", `${lost} held leases do not stand any more`, { lost });
    if (reported > 0) {
      const counts = { committed: 0, duplicate: reported, stale: 0, refused: 0 };
      this.#port.post({ type: "verdicts", counts, bytes: undefined });
    }
  }

  onLeases(bytes: Buffer, start: number, end: number): void {
    this.#desk.receive(bytes, start, end, this.#leaving === "no" && !this.#isJournalStalled);
    this.#scheduleFlush();
  }

  onVerdicts(bytes: Buffer, start: number, end: number): void {
    const { counts, refusals } = this.#results.settle(bytes, scanVerdicts(bytes, start, end));
    const own = this.#plan.wantsVerdicts ? new Uint8Array(bytes.subarray(start, end)) : undefined;
    this.#port.post({ type: "verdicts", counts, bytes: own }, own === undefined ? [] : [own.buffer]);
    for (const { jobId, fencingToken, refusal, isHopeless } of refusals) {
      const reason = `${refusal.reason}: ${refusal.message}`;
      this.#log("warn", "result-refused", `the result of job ${jobId} was refused: ${reason}`, { jobId });
      if (isHopeless) this.#desk.releaseRefused(jobId, fencingToken);
    }
    this.#scheduleFlush();
    this.#leaveIfDone();
  }

  onCheckpointSaved(saved: CheckpointSaved): void {
    this.#relay.saved(saved);
  }

  onRevoke(revoke: Revoke): void {
    this.#desk.revoke(revoke);
  }

  onEcho(sentAt: number, timeLeftMs: number, ttlMs: number): void {
    this.#trust.heard(trustedUntil(sentAt, timeLeftMs, ttlMs), false);
  }

  onHubDrain(graceMs: number): void {
    this.#supervisor.enter({ name: "draining", address: this.#address, leaving: "hub" });
    this.#log("info", "draining", `the hub at ${this.#address} is leaving`, { address: this.#address });
    const { goodbyeWithinMs } = this.#plan.tuning;
    this.#attachment?.close("drained", graceMs > 0 ? Math.min(graceMs, goodbyeWithinMs) : goodbyeWithinMs);
  }

  onWritable(): void {
    this.#outlet.drained();
    this.#flush();
  }

  deliveredThrough(): number {
    return this.#desk.deliveredThrough;
  }

  #onStreamEnd(end: AttachmentEnd): void {
    this.#outlet.follow(undefined);
    this.#attachment = undefined;
    if (end.outcome === "retryable") {
      this.#log("warn", "detached", `not attached to ${this.#address}: ${end.because}`, {
        address: this.#address,
      });
      if (end.isSessionExpired) this.#forgetSession("the session expired");
    } else if (end.outcome === "fatal") {
      this.#forgetLeases("the hub refused the worker");
    } else if (end.outcome === "served" && this.#results.openCount === 0) {
      // The hub has closed the session: there is nothing to resume after a restart.
      this.#journal?.setSession("");
    }
  }

  #forgetSession(because: string): void {
    this.#sessionId = "";
    this.#forgetLeases(because);
  }

  #forgetLeases(message: string): void {
    this.#desk.lose([...this.#desk.table.held()], { kind: "taken", message });
  }

  // Trust

  /** Nobody can vouch for the leases: those that have to stop do, the others may only finish what they began. */
  #onTrustPassed(): void {
    const stopping: TabledLease[] = [];
    const going: number[] = [];
    for (const lease of this.#desk.table.held()) {
      if (lease.finishesDisconnected) going.push(lease.ref);
      else stopping.push(lease);
    }
    if (stopping.length + going.length > 0) {
      const message = `the trust window has passed: ${stopping.length} handlers are stopped, ${going.length} may finish`;
      this.#log("warn", "leases-lost", message, { lost: stopping.length });
    }
    this.#desk.lose(stopping, { kind: "trust-window" });
    if (going.length > 0) this.#port.post({ type: "doubtful", refs: going });
    // The next hello names what is still held, so the hub takes the rest back at once.
    this.#attachment?.abandon("the trust window has passed");
  }

  /** Gives up leases whose disconnect limit is over; returns when the next one's is. */
  #expireDisconnected(since: number, now: number): number | undefined {
    const over: TabledLease[] = [];
    let next: number | undefined;
    for (const lease of this.#desk.table.held()) {
      if (!lease.disconnectLimitMs) continue;
      const limit = since + lease.disconnectLimitMs;
      if (limit <= now) over.push(lease);
      else if (next === undefined || limit < next) next = limit;
    }
    this.#desk.lose(over, { kind: "trust-window" });
    return next;
  }

  // To the hub

  /** Once per tick, however many things became due in it. */
  #scheduleFlush(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    setImmediate(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  /** Results first: a worker takes new work only after it has said what became of the old. */
  #flush(): void {
    const { openResultsMax, openResultBytesMax, reportBytesMax } = this.#plan.tuning;
    while (this.#outlet.isWritable) {
      const report = this.#results.nextReport(this.#limits.reportResultsMax, reportBytesMax);
      if (report === undefined) break;
      this.#outlet.sendBytes("report", report);
    }
    if (!this.#outlet.isLive || this.#leaving !== "no" || this.#isJournalStalled) return;
    const withheld = {
      jobs: Math.max(0, this.#results.openCount - openResultsMax),
      bytes: Math.max(0, this.#results.openBytes - openResultBytesMax),
    };
    this.#desk.grantCredit(withheld, this.#limits.credit);
  }

  // Leaving

  #sayDrain(): void {
    if (!this.#outlet.isLive) return;
    this.#outlet.send("drain", DrainRequestSchema, {});
    this.#supervisor.enter({ name: "draining", address: this.#address, leaving: "worker" });
  }

  #finish(): void {
    this.#leaving = "finishing";
    this.#finishTimer = setTimeout(() => {
      this.#leaving = "out of time";
      this.#leaveIfDone();
    }, this.#plan.tuning.verdictsWithinMs);
    this.#leaveIfDone();
  }

  #isDone(): boolean {
    return (
      this.#leaving === "out of time" || (this.#leaving === "finishing" && this.#results.openCount === 0)
    );
  }

  #leaveIfDone(): void {
    if (!this.#isDone()) return;
    if (this.#attachment?.isLive) this.#attachment.close("served", this.#plan.tuning.goodbyeWithinMs);
    else if (this.#attachment?.isAttaching) this.#attachment.abandon("the worker has nothing left to do");
    this.#supervisor.wake();
  }

  #logLeftovers(): void {
    const open = this.#results.openCount;
    if (open === 0) return this.#log("info", "closed", "closed");
    const isKept = this.#journal !== undefined && !this.#isJournalStalled;
    const fate = isKept ? "they are in the journal and will be reported by the next start" : "they are lost";
    this.#log(isKept ? "warn" : "error", "closed", `closed with ${open} results without a verdict: ${fate}`, {
      open,
    });
  }

  // The journal

  #openJournal(
    disk: JournalDisk,
    sessionId: string,
    openResults: () => Iterable<JournaledResult>,
  ): Journal | undefined {
    const { journalDirectory, tuning } = this.#plan;
    if (journalDirectory === undefined) return undefined;
    const options = {
      directory: journalDirectory,
      compactBytes: tuning.journalCompactBytes,
      retryMs: tuning.journalRetryMs,
      openResults,
      onReady: () => this.#onJournalReady(),
      onStalled: (error: unknown) => this.#onJournalStalled(error),
    };
    return new Journal(disk, options, sessionId);
  }

  #onJournalStalled(error: unknown): void {
    if (this.#isJournalStalled) return;
    this.#isJournalStalled = true;
    this.#results.bypassJournal();
    const why = error instanceof Error ? error.message : String(error);
    const message = `the journal cannot be written (${why}): no new leases until it can; results are kept in memory`;
    this.#log("error", "journal-stalled", message);
    this.#scheduleFlush();
  }

  #onJournalReady(): void {
    if (!this.#isJournalStalled) return;
    this.#isJournalStalled = false;
    this.#results.restoreJournal();
    this.#log("info", "journal-resumed", "the journal can be written again");
    this.#scheduleFlush();
  }

  #log(
    level: LogEvent["level"],
    event: LogEvent["event"],
    message: string,
    fields?: LogEvent["fields"],
  ): void {
    this.#port.post({
      type: "log",
      event: { level, event, message, ...(fields === undefined ? {} : { fields }) },
    });
  }
}
