import type { LogEvent } from "../log.js";
import type { Port, ToRunner, ToSession } from "../port.js";

/** What a session tells operators, in words. */
export class SessionLog {
  readonly #port: Port<ToRunner, ToSession>;

  constructor(port: Port<ToRunner, ToSession>) {
    this.#port = port;
  }

  attached(address: string, sessionId: string, isResumed: boolean, hubVersion: string): void {
    const message = `${isResumed ? "resumed" : "opened"} session ${sessionId} at ${address}`;
    this.#say("info", "attached", message, { address, sessionId, isResumed, hubVersion });
  }

  detached(address: string, because: string): void {
    this.#say("warn", "detached", `not attached to ${address}: ${because}`, { address, because });
  }

  leasesLost(lost: number, because: string): void {
    this.#say("warn", "leases-lost", `${lost} leases are lost: ${because}`, { lost });
  }

  hubLeaves(address: string): void {
    this.#say("info", "draining", `the hub at ${address} is leaving`, { address });
  }

  resultRefused(jobId: string, reason: string): void {
    this.#say("warn", "result-refused", `the result of job ${jobId} was refused: ${reason}`, {
      jobId,
      reason,
    });
  }

  journalStalled(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    const meanwhile = "no new leases until it can; results are kept in memory and still reported";
    this.#say("error", "journal-stalled", `the journal cannot be written (${why}): ${meanwhile}`);
  }

  journalResumed(): void {
    this.#say("info", "journal-resumed", "the journal can be written again");
  }

  /** @param open results without a verdict @param isDurable whether they survive in the journal */
  closed(open: number, isDurable: boolean): void {
    if (open === 0) return this.#say("info", "closed", "closed");
    const fate = isDurable ? "they are in the journal, for the next start to report" : "they are lost";
    const message = `closed with ${open} results without a verdict: ${fate}`;
    this.#say(isDurable ? "warn" : "error", "closed", message, { open });
  }

  #say(
    level: LogEvent["level"],
    event: LogEvent["event"],
    message: string,
    fields: LogEvent["fields"] = {},
  ): void {
    this.#port.post({ type: "log", event: { level, event, message, fields } });
  }
}
