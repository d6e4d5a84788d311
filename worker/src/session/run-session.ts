import { recoverJournal } from "../journal/journal.js";
import { type JournalDisk, localDisk } from "../journal/journal-disk.js";
import type { LogEvent } from "../log.js";
import type { Port, SessionFailure, ToRunner, ToSession } from "../port.js";
import { Session } from "./session.js";
import type { SessionPlan } from "./session-plan.js";

/** Runs a session behind `port`, on whichever thread this is. The last message it posts is "closed". */
export async function runSession(
  plan: SessionPlan,
  port: Port<ToRunner, ToSession>,
  disk: JournalDisk = localDisk,
): Promise<void> {
  let failure: SessionFailure | undefined;
  try {
    failure = await recoverAndRun(plan, port, disk);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    failure = { kind: "broken", message };
  }
  port.post({ type: "closed", failure });
}

async function recoverAndRun(
  plan: SessionPlan,
  port: Port<ToRunner, ToSession>,
  disk: JournalDisk,
): Promise<SessionFailure | undefined> {
  const recovered =
    plan.journalDirectory === undefined
      ? { sessionId: "", results: [], tornBytes: 0 }
      : await recoverJournal(disk, plan.journalDirectory);
  const log = (event: LogEvent) => port.post({ type: "log", event });
  const { results, tornBytes } = recovered;
  if (tornBytes > 0) {
    log({
      level: "warn",
      event: "journal-torn",
      message: `the journal's last ${tornBytes} bytes were cut short by a crash and are dropped`,
      fields: { tornBytes },
    });
  }
  if (results.length > 0) {
    log({
      level: "info",
      event: "journal-recovered",
      message: `results of an earlier run without a verdict: ${results.length}; they are reported first`,
      fields: { results: results.length },
    });
  }
  return await new Session(plan, port, disk, recovered).run();
}
