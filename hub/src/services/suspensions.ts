// Jobs that give their lease back until a signal comes. The ledger decides, in one statement, whether there is a signal
// already; here its answer becomes what the worker is told. A refusal is a Fault, which is the verdict of its item.
import { OwnerType, partitionOf } from "../domain/channel.js";
import { Fault } from "../domain/fault.js";
import { type SignalPage, slicePage } from "../domain/signal-page.js";
import type { Ledger } from "../ledger/ledger.js";
import type { WaitItem, WaitResult } from "../ledger/wait-for-signals.js";
import { requireScope } from "./access.js";
import { tooOld } from "./cursor-attachments.js";
import type { JobFeed } from "./job-feed.js";
import type { SignalChannels } from "./signal-channels.js";
import type { WaitAnswer, WaitRequest } from "./wait-requests.js";
import type { WorkerSession } from "./worker-session.js";

/** Enough for the page that holds the signal. */
const oneSignalBytes = 1;

export class Suspensions {
  readonly #ledger: Pick<Ledger, "waitForSignal" | "signals">;
  readonly #channels: Pick<SignalChannels, "ensure">;
  readonly #feed: JobFeed;
  readonly #noteDue: (dueAtMs: number) => void;
  readonly #count: (answer: string) => void;
  /** Pages on their way from the ledger. */
  readonly #reading = new Map<string, Promise<readonly SignalPage[]>>();

  constructor(
    ledger: Pick<Ledger, "waitForSignal" | "signals">,
    channels: Pick<SignalChannels, "ensure">,
    feed: JobFeed,
    noteDue: (dueAtMs: number) => void,
    count: (answer: string) => void,
  ) {
    this.#ledger = ledger;
    this.#channels = channels;
    this.#feed = feed;
    this.#noteDue = noteDue;
    this.#count = count;
  }

  /**
   * Answers the signal if it is there; else the job waits for it, and the session has lost the lease.
   *
   * @throws Fault STALE_FENCE, CANCEL_REQUESTED, CURSOR_TOO_OLD, SCOPE_MISSING, JOB_NOT_FOUND, CHANNEL_LIMIT
   */
  async wait(session: WorkerSession, request: WaitRequest): Promise<WaitAnswer> {
    try {
      const answer = await this.#wait(session, request);
      this.#count(answer.type);
      return answer;
    } catch (error) {
      if (error instanceof Fault) this.#count(error.reason.toLowerCase());
      throw error;
    }
  }

  async #wait(session: WorkerSession, request: WaitRequest): Promise<WaitAnswer> {
    const { jobId, fencingToken, channel: name, afterSequence, timeoutMs } = request;
    if (name.ownerType !== OwnerType.Job || name.owner !== jobId)
      requireScope(session.principal, "signals:subscribe");
    const { channelId, partitions } = await this.#channels.ensure(session.principal, name);
    const partition = partitionOf(request.key, partitions);
    const { sessionId } = session;
    const place = { channelId, partition, afterSequence };
    const result = await this.#ledger.waitForSignal({ jobId, sessionId, fencingToken, ...place, timeoutMs });
    switch (result.type) {
      case "suspended": {
        const { timeoutAtMs } = result;
        session.letGo(jobId, fencingToken);
        if (timeoutAtMs !== null) this.#noteDue(timeoutAtMs);
        if (!result.isRepeated) this.#feed.changed(jobId);
        return { type: "suspended", timeoutAtMs };
      }
      case "signalled":
        return { type: "signal", page: await this.#read(place, result), partition };
      case "timed_out":
        return result;
      case "cancelling":
        throw new Fault("CANCEL_REQUESTED", "The job is being cancelled, so it may not wait.", {
          job_id: jobId,
        });
      case "stale":
        throw new Fault("STALE_FENCE", "The job is not leased to the caller under this fencing token.", {
          job_id: jobId,
          token: "fencing_token",
        });
    }
  }

  /** The first signal after the place, unless retention was quicker. */
  async #read(
    { channelId, partition, afterSequence }: Pick<WaitItem, "channelId" | "partition" | "afterSequence">,
    { firstSequence }: Extract<WaitResult, { type: "signalled" }>,
  ): Promise<SignalPage> {
    const sequence = afterSequence + 1;
    if (sequence < firstSequence) throw tooOld(sequence, firstSequence);
    const [page] = await this.#readShared(channelId, partition, sequence);
    if (!page || page.firstSequence > sequence) throw tooOld(sequence, page?.firstSequence ?? sequence + 1);
    return slicePage(page, sequence, sequence);
  }
  /** Thousands may have waited for one signal, and ask for it together. */
  #readShared(channelId: number, partition: number, sequence: number): Promise<readonly SignalPage[]> {
    const key = `${channelId}/${partition}/${sequence}`;
    const known = this.#reading.get(key);
    if (known) return known;
    const reading = this.#ledger.signals
      .readSignals(channelId, partition, sequence, oneSignalBytes)
      .finally(() => this.#reading.delete(key));
    this.#reading.set(key, reading);
    return reading;
  }
}
