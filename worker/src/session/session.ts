import {
  type CheckpointSaved,
  DrainRequestSchema,
  type Revoke,
  type Welcome,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { RecoveredJournal } from "../journal/journal.js";
import type { JournalDisk } from "../journal/journal-disk.js";
import type { LossCause, Port, SessionFailure, ToRunner, ToSession } from "../port.js";
import { TrustClock } from "../trust-clock.js";
import type { EncodedResults } from "../wire/result-batch.js";
import { scanVerdicts } from "../wire/verdict-scan.js";
import { AddressRing } from "./address-ring.js";
import { Attachment, type AttachmentEvents } from "./attachment.js";
import type { AttachmentEnd } from "./attachment-end.js";
import { AttemptRelay } from "./attempt-relay.js";
import { newWindow } from "./held-window.js";
import { helloMessage } from "./hello.js";
import { LeaseDesk } from "./lease-desk.js";
import { Outlet } from "./outlet.js";
import { type KeeperJournal, ResultKeeper } from "./result-keeper.js";
import { ResultPace } from "./result-pace.js";
import { SessionLog } from "./session-log.js";
import type { SessionPlan } from "./session-plan.js";
import { streamLimits } from "./stream-limits.js";
import { Successor } from "./successor.js";
import { Supervisor } from "./supervisor.js";
import { TrustWatch } from "./trust-watch.js";
import { trustedUntil } from "./trust-window.js";
import { Upstream } from "./upstream.js";

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
  readonly #log: SessionLog;
  readonly #outlet = new Outlet();
  readonly #desk: LeaseDesk;
  readonly #results: ResultKeeper;
  readonly #relay: AttemptRelay;
  readonly #upstream: Upstream;
  readonly #successor: Successor;
  readonly #supervisor: Supervisor;
  readonly #clock = new TrustClock();
  readonly #trust: TrustWatch;
  readonly #pace: ResultPace;
  #sessionId: string;
  #attachment: Attachment | undefined;
  #address = "";
  #leaving: "no" | "draining" | "finishing" | "out of time" = "no";
  #finishTimer: NodeJS.Timeout | undefined;

  constructor(
    plan: SessionPlan,
    port: Port<ToRunner, ToSession>,
    disk: JournalDisk,
    recovered: RecoveredJournal,
  ) {
    this.#plan = plan;
    this.#port = port;
    this.#log = new SessionLog(port);
    this.#sessionId = recovered.sessionId;
    const post = port.post.bind(port);
    this.#results = new ResultKeeper(recovered, this.#keeperJournal(disk));
    const window = newWindow(plan.heldJobsMin, plan.heldJobsMax, performance.now());
    this.#desk = new LeaseDesk(window, plan.heldBytesMax, this.#outlet, post, (key) =>
      this.#results.has(key),
    );
    this.#relay = new AttemptRelay(this.#desk.table, this.#outlet, post);
    this.#upstream = new Upstream(this.#outlet, this.#results, this.#desk, plan.tuning, () =>
      this.#takesLeases(),
    );
    this.#pace = new ResultPace(plan.tuning.resultPaceMs, (results) => this.#onResults(results));
    this.#trust = new TrustWatch(
      (since) => this.#onTrustPassed(since),
      (now) => this.#desk.expireDoubted(now),
      this.#clock,
    );
    const ring = new AddressRing(plan.access.addresses);
    this.#successor = new Successor(plan.access, ring);
    this.#supervisor = new Supervisor({
      ring,
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
    this.#pace.close();
    clearTimeout(this.#finishTimer);
    this.#successor.close();
    this.#log.closed(this.#results.openCount, this.#results.isDurable);
    await this.#results.close();
    return failure;
  }

  // From the runner

  #onMessage(message: ToSession): void {
    if (message.type === "results") return this.#pace.add(message);
    this.#pace.flush();
    switch (message.type) {
      case "released":
        this.#desk.release(message.refs, message.isStarted);
        return this.#upstream.flushSoon();
      case "checkpoint":
        return this.#relay.checkpoint(message.ref, message.sequence, message.state);
      case "effect":
        return this.#relay.effect(message.ref, message.requestId, message.act);
      case "wait":
        return this.#relay.wait(message.ref, message.requestId, message.wait);
      case "progress":
        return this.#relay.progress(message.items);
      case "throttled":
        return this.#relay.throttled(message.ref, message.retryAfterMs);
      case "spend":
        return this.#relay.spend(message.ref, message);
      case "drain":
        if (this.#leaving === "no") this.#leaving = "draining";
        return this.#sayDrain();
      case "finish":
        return this.#finish();
    }
  }

  #onResults(encoded: EncodedResults): void {
    const { results, report, creditBytes } = this.#desk.endWithResults(encoded);
    this.#upstream.flushSoon();
    if (results.length === 0) return;
    this.#results.accept(results, report, () => {
      this.#desk.creditBack(results.length, creditBytes);
      this.#upstream.flushSoon();
    });
  }

  // Streams

  #attach(address: string): Promise<AttachmentEnd> {
    const { access, worker, tuning } = this.#plan;
    this.#address = address;
    this.#desk.beginHello();
    const hello = helloMessage(worker, this.#sessionId, this.#results.open(), this.#desk.table.held());
    const client = this.#successor.take(address);
    const { welcomeWithinMs } = tuning;
    const options = { access, address, client, hello, welcomeWithinMs, clock: this.#clock };
    this.#attachment = new Attachment(options, this);
    this.#outlet.follow(this.#attachment);
    return this.#attachment.ended;
  }

  onConnected(): void {
    this.#supervisor.enter({ name: "attaching", address: this.#address });
  }

  onWelcome(welcome: Welcome, { helloSentAt, ttlMs }: { helloSentAt: number; ttlMs: number }): void {
    const { sessionId, resumed: isResumed, hubVersion } = welcome;
    const address = this.#address;
    this.#sessionId = sessionId;
    this.#results.setSession(sessionId);
    this.#upstream.limits = streamLimits(welcome.limits);
    const { resultBytesMax, checkpointBytesMax, effectResultBytesMax } = this.#upstream.limits;
    this.#port.post({ type: "attached", resultBytesMax, checkpointBytesMax, effectResultBytesMax });
    this.#supervisor.enter({ name: "live", address, sessionId, isResumed });
    this.#log.attached(address, sessionId, isResumed, hubVersion);
    this.#desk.beginStream();
    this.#judgeHeld(welcome);
    this.#trust.welcomed(trustedUntil(helloSentAt, ttlMs, ttlMs));
    this.#relay.resend();
    this.#results.resend();
    if (this.#leaving !== "no") this.#sayDrain();
    this.#upstream.flush();
    this.#leaveIfDone();
  }

  #judgeHeld(welcome: Welcome): void {
    const { lost, reported } = this.#desk.judge(welcome.held, this.#clock.now());
    if (lost > 0) this.#log.leasesLost(lost, "the hub says that they do not stand any more");
    const duplicate = reported.filter((key) => this.#results.settleReported(key)).length;
    if (duplicate === 0) return;
    const counts = { committed: 0, duplicate, stale: 0, refused: 0 };
    this.#port.post({ type: "verdicts", counts, bytes: undefined });
  }

  onLeases(bytes: Buffer, start: number, end: number): void {
    this.#desk.receive(bytes, start, end, this.#takesLeases());
    this.#upstream.flushSoon();
  }

  /** Not when leaving, and not while a crash would lose what comes of them. */
  #takesLeases(): boolean {
    return this.#leaving === "no" && !this.#results.isStalled;
  }

  onVerdicts(bytes: Buffer, start: number, end: number): void {
    const { counts, refusals } = this.#results.settle(bytes, scanVerdicts(bytes, start, end));
    const own = this.#plan.wantsVerdicts ? new Uint8Array(bytes.subarray(start, end)) : undefined;
    this.#port.post({ type: "verdicts", counts, bytes: own }, own === undefined ? [] : [own.buffer]);
    for (const { jobId, fencingToken, refusal, isHopeless } of refusals) {
      this.#log.resultRefused(jobId, `${refusal.reason}: ${refusal.message}`);
      if (isHopeless) this.#desk.releaseRefused(jobId, fencingToken);
    }
    this.#upstream.flushSoon();
    this.#leaveIfDone();
  }

  onCheckpointSaved(saved: CheckpointSaved): void {
    this.#relay.saved(saved);
  }

  onEffectVerdict(verdict: Uint8Array): void {
    this.#relay.effectAnswered(verdict);
  }

  onWaitVerdict(verdict: Uint8Array): void {
    this.#relay.waitAnswered(verdict);
  }

  onRevoke(revoke: Revoke): void {
    this.#desk.revoke(revoke);
  }

  onEcho(sentAt: number, timeLeftMs: number, ttlMs: number): void {
    this.#trust.heard(trustedUntil(sentAt, timeLeftMs, ttlMs));
  }

  onHubDrain(graceMs: number): void {
    this.#supervisor.enter({ name: "draining", address: this.#address, leaving: "hub" });
    this.#log.hubLeaves(this.#address);
    const { goodbyeWithinMs } = this.#plan.tuning;
    const withinMs = graceMs > 0 ? Math.min(graceMs, goodbyeWithinMs) : goodbyeWithinMs;
    if (this.#attachment !== undefined) void this.#moveFrom(this.#attachment, withinMs);
  }

  /**
   * Another hub is reached first, and only then is this one left: until then the session is renewed here. The hello
   * comes last, for it has to name every lease that this stream still brings.
   */
  async #moveFrom(attachment: Attachment, withinMs: number): Promise<void> {
    await this.#successor.seek(withinMs / 2, () => this.#attachment === attachment);
    attachment.close("drained", withinMs / 2);
  }

  onWritable(): void {
    this.#outlet.drained();
    this.#upstream.flush();
  }

  deliveredThrough(): number {
    return this.#desk.deliveredThrough;
  }

  #onStreamEnd(end: AttachmentEnd): void {
    this.#outlet.follow(undefined);
    this.#attachment = undefined;
    if (end.outcome === "retryable") {
      if (!this.#isDone()) this.#log.detached(this.#address, end.because);
      if (end.isSessionOver) this.#forgetSession();
    } else if (end.outcome === "fatal") {
      this.#desk.lose([...this.#desk.table.held()], { kind: "taken", message: "the hub refused the worker" });
    } else if (end.outcome === "served" && this.#results.openCount === 0) {
      // The hub has closed the session: there is nothing to resume after a restart.
      this.#results.setSession("");
    }
  }

  #forgetSession(): void {
    this.#sessionId = "";
    this.#doubtAll(this.#clock.now(), { kind: "taken", message: "the session is over" });
    this.#trust.look();
  }

  #onTrustPassed(since: number): void {
    this.#doubtAll(since, { kind: "trust-window" });
    // The next hello names what is still held, so the hub takes the rest back at once.
    this.#attachment?.abandon("the session was not renewed for so long that leases may be gone");
  }

  #doubtAll(since: number, cause: LossCause): void {
    const lost = this.#desk.doubt([...this.#desk.table.held()], since, cause);
    const because = cause.kind === "taken" ? cause.message : "no hub was heard for too long";
    if (lost > 0) this.#log.leasesLost(lost, because);
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

  #keeperJournal(disk: JournalDisk): KeeperJournal | undefined {
    const { journalDirectory: directory, tuning } = this.#plan;
    if (directory === undefined) return undefined;
    return {
      disk,
      directory,
      compactBytes: tuning.journalCompactBytes,
      retryMs: tuning.journalRetryMs,
      onStalled: (error) => {
        this.#log.journalStalled(error);
        this.#upstream.flushSoon();
      },
      onResumed: () => {
        this.#log.journalResumed();
        this.#upstream.flushSoon();
      },
    };
  }
}
