import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { GetHeadResponse } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import type { Connection } from "../connection.js";
import { type Check, fail, ok, warn } from "./check.js";

/** Hubs seal within a second or two. */
const WAIT_MS_MAX = 60_000;

/** Whether what operators change is sealed; no finding for a key that may not ask, or a hub that knows of none. */
export async function checkAudit(
  connection: Connection,
  nowMs: number,
  timeoutMs: number,
): Promise<readonly Check[]> {
  try {
    return [judgeAudit(await connection.audit.getHead({}, { timeoutMs }), nowMs)];
  } catch (error) {
    if (error instanceof ConnectError) return [];
    throw error;
  }
}

export function judgeAudit({ head, waiting, oldestWaitingAt, key }: GetHeadResponse, nowMs: number): Check {
  const name = "audit";
  const sealed = head ? `sealed up to ${head.number}` : "nothing to seal yet";
  const isLate = oldestWaitingAt !== undefined && nowMs - timestampMs(oldestWaitingAt) > WAIT_MS_MAX;
  if (!isLate) return ok(name, sealed);
  const late = `${waiting} changes of operators are not sealed`;
  return key
    ? fail(name, late, "Look at the log of the hub: it says why it cannot seal them.")
    : warn(
        name,
        `${late}: this hub has no audit key`,
        "`holdfast audit keygen FILE` makes one; give it to the hubs with --audit-key FILE.",
      );
}
