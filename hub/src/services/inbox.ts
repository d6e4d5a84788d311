// Adopts what was submitted from SQL: each entry of the inbox becomes a job, once, on whichever hub is first.
//
//   asleep ── told, or a second passed ──► awake ── nothing found for a while ──► drowsy ── still nothing ──► asleep
//
// Awake and drowsy, the hub looks every few milliseconds. Awake, it also says so in the database, and nobody tells it of
// what commits; drowsy, it is told again, and still finds what committed untold in the meantime.
//
// Invariants
//  1. An entry goes when its job is there, or when its key had made that job before, or an open job has its unique key. What cannot be adopted stays, with
//     the reason; what the ledger could not take just now stays and is tried again.
//  2. Nothing rests on being told: every entry is looked for once a second.
import { Fault } from "../domain/fault.js";
import { type InboxEntry, type InboxRefusal, type InboxView, specOfEntry } from "../domain/inbox.js";
import type { Ref } from "../domain/lane.js";
import type { Operator } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import type { AdoptResult } from "../ledger/submit-jobs.js";
import type { DirectLeases, NewJob } from "./direct-leases.js";
import { keyHeld } from "./jobs.js";
import type { LaneBook } from "./lane-book.js";

const entriesPerLookMax = 500;
const asleepLookMs = 1_000;
const awakeLookMs = 4;
const awakeMs = 150;
const drowsyMs = 300;
/** Quick looks begin so far before the newest entry adopted: transactions commit in another order than they began. */
const lateEntries = 10_000;
/** Entries this old may belong to a day without a partition. */
const partitionAgeMs = 86_400_000;

/** Faults that pass by themselves: the entry stays as it is. */
const passing: ReadonlySet<string> = new Set(["LEDGER_UNAVAILABLE", "BACKLOG_FULL", "HUB_STOPPING"]);

type InboxLedger = Pick<
  Ledger,
  | ("adopt" | "readInbox" | "settleInbox" | "listenToInbox" | "ensureJobPartition")
  | ("listInbox" | "retryInboxEntry" | "discardInboxEntry" | "hasInboxEntry")
>;

export interface InboxObserver {
  /** Entries that this hub settled, by what became of them; how long each had waited, if it became a job. */
  readonly settled: (outcome: "adopted" | "existing" | "refused", waitedMs: number) => void;
  /** A job was cancelled whose unique key an entry took over. */
  readonly replaced: (jobId: string) => void;
  readonly failed: (error: unknown) => void;
}

export class Inbox {
  readonly #ledger: InboxLedger;
  readonly #lanes: Lanes;
  readonly #book: LaneBook;
  readonly #directLeases: DirectLeases;
  readonly #noteDue: (dueAtMs: number) => void;
  readonly #payloadBytesMax: number;
  readonly #observer: InboxObserver;
  readonly #listener: ReturnType<Ledger["listenToInbox"]>;
  #next: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #isTold = false;
  #isStopped = true;
  #newestPosition = 0;
  #foundAtMs = Number.NEGATIVE_INFINITY;
  #wholeLookAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    ledger: InboxLedger,
    lanes: Lanes,
    book: LaneBook,
    directLeases: DirectLeases,
    noteDue: (dueAtMs: number) => void,
    payloadBytesMax: number,
    observer: InboxObserver,
  ) {
    this.#ledger = ledger;
    this.#lanes = lanes;
    this.#book = book;
    this.#directLeases = directLeases;
    this.#noteDue = noteDue;
    this.#payloadBytesMax = payloadBytesMax;
    this.#observer = observer;
    this.#listener = ledger.listenToInbox(() => this.#wake(), observer.failed);
  }

  async start(): Promise<void> {
    this.#isStopped = false;
    await this.#listener.open();
    this.#schedule(0);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#next);
    await this.#looking;
    await this.#listener.close();
  }

  list(
    principal: Principal,
    refusedOnly: boolean,
    beforeId: string,
    limit: number,
  ): Promise<readonly InboxView[]> {
    return this.#ledger.listInbox(principal.tenantId, refusedOnly, beforeId, limit);
  }

  /**
   * Lets hubs try a refused entry again.
   *
   * @throws Fault INBOX_ENTRY_NOT_FOUND
   */
  async retry(operator: Operator, jobId: string): Promise<InboxView> {
    const entry = await this.#ledger.retryInboxEntry(operator, jobId);
    if (!entry) throw notFound(jobId);
    this.#wake();
    return entry;
  }

  /**
   * Removes a refused entry for good.
   *
   * @throws Fault INBOX_ENTRY_NOT_FOUND, NOT_REFUSED
   */
  async discard(operator: Operator, jobId: string): Promise<InboxView> {
    const entry = await this.#ledger.discardInboxEntry(operator, jobId);
    if (entry) return entry;
    if (await this.#ledger.hasInboxEntry(operator.tenantId, jobId))
      throw new Fault("NOT_REFUSED", "The entry is not refused: a hub is about to adopt it.", {
        job_id: jobId,
      });
    throw notFound(jobId);
  }

  #wake(): void {
    if (this.#looking) this.#isTold = true;
    else this.#schedule(0);
  }

  #schedule(afterMs: number): void {
    if (this.#isStopped) return;
    clearTimeout(this.#next);
    this.#next = setTimeout(() => {
      this.#isTold = false;
      this.#looking = this.#look()
        .catch((error: unknown) => {
          this.#observer.failed(error);
          return asleepLookMs;
        })
        .then((pauseMs) => {
          this.#looking = undefined;
          this.#schedule(this.#isTold ? 0 : pauseMs);
        });
    }, afterMs);
  }

  /** Answers when to look next. */
  async #look(): Promise<number> {
    const nowMs = performance.now();
    const isWhole = nowMs - this.#wholeLookAtMs >= asleepLookMs;
    if (isWhole) this.#wholeLookAtMs = nowMs;
    const after = isWhole ? 0 : this.#newestPosition - lateEntries;
    const entries = await this.#ledger.readInbox(after, entriesPerLookMax);
    if (entries.length > 0) {
      this.#foundAtMs = nowMs;
      // What the ledger cannot take just now is not pressed on it.
      if ((await this.#adopt(entries)) === "held up") return asleepLookMs;
      this.#newestPosition = Math.max(this.#newestPosition, entries.at(-1)?.position ?? 0);
    }
    const idleMs = performance.now() - this.#foundAtMs;
    await this.#listener.stayAwake(idleMs < awakeMs);
    if (entries.length === entriesPerLookMax) return 0;
    return idleMs < drowsyMs ? awakeLookMs : asleepLookMs;
  }

  async #adopt(entries: readonly InboxEntry[]): Promise<"done" | "held up"> {
    await this.#ensurePartitions(entries);
    const placed = await Promise.all(entries.map((entry) => this.#place(entry)));
    const { items, end } = this.#directLeases.begin(
      placed.flatMap((job) => (job instanceof Fault ? [] : [job])),
    );
    let results: readonly (AdoptResult | Fault)[] = [];
    try {
      if (items.length > 0) results = await this.#ledger.adopt(items);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const fault = error;
      results = items.map(() => fault);
    } finally {
      end(results);
    }
    const outcomes = results.values();
    await this.#settle(
      entries.map((entry, at) => {
        const job = placed[at];
        return { entry, result: job instanceof Fault ? job : (outcomes.next().value as AdoptResult | Fault) };
      }),
    );
    const isHeldUp = [...placed, ...results].some((one) => one instanceof Fault && passing.has(one.reason));
    return isHeldUp ? "held up" : "done";
  }

  async #settle(
    settled: readonly { readonly entry: InboxEntry; readonly result: AdoptResult | Fault }[],
  ): Promise<void> {
    const ready: Ref[] = [];
    const existing: string[] = [];
    const refused: { jobId: string; refusal: InboxRefusal }[] = [];
    for (const { entry, result } of settled) {
      const waitedMs = Date.now() - entry.submittedAtMs;
      const refusal = refusalOf(result);
      if (refusal) {
        refused.push({ jobId: entry.jobId, refusal });
        this.#observer.settled("refused", waitedMs);
      } else if (!(result instanceof Fault) && result.type === "existing") {
        existing.push(entry.jobId);
        this.#observer.settled("existing", waitedMs);
      } else if (!(result instanceof Fault) && result.type === "accepted") {
        if (result.ref) ready.push(result.ref);
        if (result.replacedJobId) this.#observer.replaced(result.replacedJobId);
        if (result.dueAtMs !== null) this.#noteDue(result.dueAtMs);
        this.#observer.settled("adopted", waitedMs);
      }
    }
    this.#lanes.offer(ready);
    if (existing.length + refused.length > 0) await this.#ledger.settleInbox(existing, refused);
  }

  /** The job to be and its lane, or why it can be none. */
  async #place(entry: InboxEntry): Promise<NewJob | Fault> {
    const { jobId, tenantId } = entry;
    const spec = specOfEntry(entry, this.#payloadBytesMax);
    if (spec instanceof Fault) return spec;
    try {
      return { jobId, tenantId, spec, lane: await this.#book.laneFor(tenantId, spec) };
    } catch (error) {
      if (error instanceof Fault) return error;
      throw error;
    }
  }

  async #ensurePartitions(entries: readonly InboxEntry[]): Promise<void> {
    const old = entries.filter(({ submittedAtMs }) => submittedAtMs < Date.now() - partitionAgeMs);
    const days = new Map(
      old.map(({ submittedAtMs }) => [Math.floor(submittedAtMs / 86_400_000), submittedAtMs]),
    );
    for (const atMs of days.values()) await this.#ledger.ensureJobPartition(atMs);
  }
}

/** Why an entry cannot be adopted, as it is kept for operators; null when it was, or will be. */
function refusalOf(result: AdoptResult | Fault): InboxRefusal | null {
  if (result instanceof Fault) {
    const { reason, message, metadata } = result;
    return passing.has(reason) ? null : { reason, message, metadata };
  }
  if (result.type === "held") {
    const { reason, message, metadata } = keyHeld(result.jobId);
    return { reason, message, metadata };
  }
  if (result.type !== "conflict") return null;
  const message = "The idempotency key was used before with other content.";
  return { reason: "IDEMPOTENCY_CONFLICT", message, metadata: { job_id: result.jobId } };
}

function notFound(jobId: string): Fault {
  return new Fault("INBOX_ENTRY_NOT_FOUND", "There is no such entry in the inbox.", { job_id: jobId });
}
