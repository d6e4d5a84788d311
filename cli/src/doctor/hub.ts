import { ConnectError } from "@connectrpc/connect";
import type { GetStatusResponse } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { callError, errorInfoOf } from "../call-error.js";
import type { Connection } from "../connection.js";
import { checkAudit } from "./audit.js";
import { type Check, fail, ok, warn } from "./check.js";
import { judgeClock } from "./clock.js";
import type { GrpcHealth } from "./grpc-health.js";
import { judgeLedger } from "./ledger.js";

const ANSWER_WITHIN_MS = 5_000;

/** Asks the hub for its status over HTTP and judges what it says: the hub, its ledger, its audit, its clock. */
export async function checkHub(connection: Connection, nowMs: () => number): Promise<readonly Check[]> {
  const name = "hub (HTTP)";
  let dateHeader: string | null = null;
  const askedAtMs = nowMs();
  try {
    const status = await connection.fleet.getStatus(
      {},
      { timeoutMs: ANSWER_WITHIN_MS, onHeader: (headers) => (dateHeader = headers.get("date")) },
    );
    const clock = judgeClock(dateHeader, askedAtMs, nowMs());
    return [
      ok(name, describe(connection, status)),
      ...(status.ledger ? judgeLedger(status.ledger) : []),
      ...(await checkAudit(connection, nowMs(), ANSWER_WITHIN_MS)),
      clock,
    ];
  } catch (error) {
    if (!(error instanceof ConnectError)) {
      throw error;
    }
    const { reason, message, next = "Look at the log of the hub." } = callError(error, connection.hubUrl);
    return errorInfoOf(error) !== undefined && reason !== "LEDGER_UNAVAILABLE"
      ? [warn(name, `answers at ${connection.hubUrl}, but not this question: ${reason}: ${message}`, next)]
      : [fail(name, message, next)];
  }
}

export function judgeGrpc(address: string, health: GrpcHealth): Check {
  const name = "hub (gRPC)";
  switch (health.kind) {
    case "serving":
      return ok(name, `serving at ${address}`);
    case "not serving":
      return fail(
        name,
        `at ${address} says that it does not serve`,
        "It starts or stops, or lost its ledger: look at its log.",
      );
    case "no health service":
      return fail(
        name,
        `what answers at ${address} is no hub`,
        "Name the gRPC address of the hub: --grpc HOST:PORT.",
      );
    case "unreachable":
      return fail(
        name,
        `cannot be reached at ${address} (${health.message})`,
        "Start a hub, or name its gRPC address: --grpc HOST:PORT. Workers cannot attach without it.",
      );
  }
}

function describe(connection: Connection, { hubVersion, streams }: GetStatusResponse): string {
  return `version ${hubVersion} at ${connection.hubUrl}, ${streams} worker streams`;
}
