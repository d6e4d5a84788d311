import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { GetHeadResponse } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import { callError } from "../call-error.js";
import type { Connection } from "../connection.js";
import { type Check, fail, ok, warn } from "./check.js";

const NAME = "audit";

/** Hubs seal within a second or two. */
const WAIT_MS_MAX = 60_000;

/** These say nothing of the history: a key that may not ask, or a hub that knows of no seals. */
const NO_FINDING: readonly Code[] = [Code.PermissionDenied, Code.Unauthenticated, Code.Unimplemented];

/** Whether what operators change is sealed. */
export async function checkAudit(
  connection: Connection,
  nowMs: number,
  timeoutMs: number,
): Promise<readonly Check[]> {
  try {
    return [judgeAudit(await connection.audit.getHead({}, { timeoutMs }), nowMs)];
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    if (NO_FINDING.includes(error.code)) return [];
    const { message, next = "Look at the log of the hub." } = callError(error, connection.hubUrl);
    return [fail(NAME, message, next)];
  }
}

export function judgeAudit(
  { head, waiting, oldestWaitingAt, key, changed }: GetHeadResponse,
  nowMs: number,
): Check {
  if (changed !== "")
    return fail(NAME, changed, "Compare bundles and heads that were kept elsewhere: docs/audit.md.");
  const sealed = head ? `sealed up to ${head.number}` : "nothing to seal yet";
  const isLate = oldestWaitingAt !== undefined && nowMs - timestampMs(oldestWaitingAt) > WAIT_MS_MAX;
  if (!isLate) return ok(NAME, sealed);
  const late = `${waiting} changes of operators are not sealed`;
  return key
    ? fail(NAME, late, "Look at the log of the hub: it says why it cannot seal them.")
    : warn(
        NAME,
        `${late}: this hub has no audit key`,
        "`holdfast audit keygen FILE` makes one; give it to the hubs with --audit-key FILE.",
      );
}
