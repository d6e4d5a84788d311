/** Something an operator may want to know. `event` is stable; `message` is for people. */
export type LogEvent = {
  readonly level: "info" | "warn" | "error";
  readonly event: LogEventName;
  readonly message: string;
  /** What the message says, as values. */
  readonly fields?: Readonly<Record<string, string | number | boolean>>;
};

export type LogEventName =
  /** A hub welcomed the worker. */
  | "attached"
  /** The stream was lost or refused; another attempt follows. */
  | "detached"
  /** Leases were lost: their handlers are aborted. */
  | "leases-lost"
  /** The worker is leaving, or its hub is. */
  | "draining"
  /** The worker has ended. */
  | "closed"
  /** Results of an earlier life were found. */
  | "journal-recovered"
  /** The end of the journal was cut short by a crash; the rest is intact. */
  | "journal-torn"
  /** The journal cannot be written: no new leases until it can. */
  | "journal-stalled"
  /** The journal can be written again. */
  | "journal-resumed"
  /** The hub refused a result as it was. */
  | "result-refused"
  /** A hook of the application threw. */
  | "hook-failed";

/** Prints one short line per event to stderr. */
export function logToStderr(name: string): (event: LogEvent) => void {
  return ({ level, message }) => {
    const mark = level === "info" ? "" : `${level}: `;
    process.stderr.write(`holdfast worker ${name}: ${mark}${message}\n`);
  };
}
