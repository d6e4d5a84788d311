import { durationMs } from "@bufbuild/protobuf/wkt";
import type { LedgerStatus } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { formatLatency } from "../elapsed.js";
import { type Check, fail, ok, warn } from "./check.js";

const POSTGRES_MAJOR_MIN = 15;
const ROUND_TRIP_WARN_MS = 10;
const ROUND_TRIP_FAIL_MS = 1_000;

/** Stronger than "on" is "remote_apply"; the others answer before the commit is safe here (D1). */
const DURABLE_COMMITS: readonly string[] = ["on", "remote_apply"];

export function judgeLedger(ledger: LedgerStatus): readonly Check[] {
  return [judgeVersion(ledger), judgeMigration(ledger), judgeCommit(ledger), judgeRoundTrip(ledger)];
}

function judgeVersion({ postgresVersion, embedded }: LedgerStatus): Check {
  const found = `PostgreSQL ${postgresVersion}${embedded ? ", embedded" : ""}`;
  return Number.parseInt(postgresVersion, 10) >= POSTGRES_MAJOR_MIN
    ? ok("ledger", found)
    : fail("ledger", found, `Move the ledger to PostgreSQL ${POSTGRES_MAJOR_MIN} or newer.`);
}

function judgeMigration({ migration }: LedgerStatus): Check {
  return migration > 0
    ? ok("migration", String(migration))
    : fail("migration", "the ledger has no tables", "Restart the hub: it migrates when it starts.");
}

function judgeCommit({ synchronousCommit }: LedgerStatus): Check {
  return DURABLE_COMMITS.includes(synchronousCommit)
    ? ok("durability", `synchronous_commit = ${synchronousCommit}`)
    : fail(
        "durability",
        `synchronous_commit = ${synchronousCommit}: a crash can lose what was answered`,
        "Set synchronous_commit = on in PostgreSQL.",
      );
}

function judgeRoundTrip({ roundTrip }: LedgerStatus): Check {
  if (roundTrip === undefined) {
    return warn("round trip", "the hub did not measure it", "Update the hub.");
  }
  const ms = durationMs(roundTrip);
  const next = "Look at the load of PostgreSQL, and at the network between it and the hub.";
  if (ms >= ROUND_TRIP_FAIL_MS) {
    return fail("round trip", formatLatency(ms), next);
  }
  return ms >= ROUND_TRIP_WARN_MS
    ? warn("round trip", formatLatency(ms), next)
    : ok("round trip", formatLatency(ms));
}
