import { claimJobs } from "./claim-jobs.js";
import { claimMetered } from "./claim-metered.js";
import { closeSessions, openSessions } from "./open-sessions.js";
import { recordSpend } from "./record-spend.js";
import { renewSessions } from "./renew-sessions.js";
import { reportResults } from "./report-results.js";
import { resumeSession } from "./resume-session.js";
import { returnLeases } from "./return-leases.js";
import { saveAcknowledgements } from "./save-acknowledgements.js";
import { saveCheckpoints } from "./save-checkpoints.js";
import { settleDeliveries } from "./settle-deliveries.js";
import { waitForSignals } from "./wait-for-signals.js";

/**
 * By name, what sessions live by and their leases end with. Refused, it ends streams and leaves work undone that is to
 * make room: so it finds room in the queue of writes that submits and calls have filled.
 */
export const sessionStatements: ReadonlySet<string> = new Set(
  [
    ...[openSessions, resumeSession, renewSessions, closeSessions],
    ...[claimJobs, claimMetered, saveAcknowledgements, settleDeliveries, returnLeases],
    ...[recordSpend, reportResults, saveCheckpoints, waitForSignals],
  ].map(({ name }) => name),
);
