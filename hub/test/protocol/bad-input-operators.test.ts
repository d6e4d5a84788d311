import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { LimitService } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { ScheduleService } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { describe } from "vitest";
import { bad, forged, testRefusals, useWitnessedHub } from "../harness/bad-calls.js";

const house = useWitnessedHub();
const { listSessions } = FleetService.method;
const { createKey, listKeys, revokeKey } = AccessService.method;

describe("an operator's call that is refused says why, with ErrorInfo, on both ports", () => {
  testRefusals(house, [
    bad("a page that is too long", listSessions, { pageSize: 501 }, "page_size"),
    bad("a forged page token", listSessions, { pageToken: forged("x", ["sessions", 1]) }, "page_token"),
    bad("no scopes", createKey, { subject: "s" }, "scopes"),
    bad("an unknown scope", createKey, { subject: "s", scopes: ["jobs:everything"] }, "scopes[0]"),
    bad("no subject", createKey, { scopes: ["access:admin"] }, "subject"),
    bad("a bad tenant", createKey, { subject: "s", scopes: ["access:admin"], tenant: "Nord" }, "tenant"),
    bad("a bad kind", createKey, { subject: "s", scopes: ["access:admin"], kinds: ["?"] }, "kinds[0]"),
    bad(
      "a bad expiry",
      createKey,
      { subject: "s", scopes: ["access:admin"], expiresAt: { seconds: 1n } },
      "expires_at",
    ),
    bad(
      "an end that has passed",
      createKey,
      { subject: "s", scopes: ["access:admin"], expiresAt: { seconds: 1_700_000_000n } },
      "expires_at",
    ),
    bad("a first key that is no admin's", createKey, { subject: "s", scopes: ["jobs:read"] }, /^$/, [
      9,
      "FIRST_KEY_NOT_ADMIN",
    ]),
    bad(
      "a first key that is another tenant's",
      createKey,
      { subject: "s", scopes: ["access:admin"], tenant: "north" },
      /^$/,
      [9, "FIRST_KEY_NOT_ADMIN"],
    ),
    bad("a list of a tenant that cannot be", listKeys, { tenant: "Nord" }, "tenant"),
    bad(
      "a channel after one that cannot be",
      SignalService.method.listChannels,
      { pageToken: forged("4294967296", ["channels", 1]) },
      "page_token",
    ),
    bad(
      "a schedule after one that cannot be",
      ScheduleService.method.list,
      { pageToken: forged("\0", ["schedules", 1]) },
      "page_token",
    ),
    bad(
      "a limit after one that cannot be",
      LimitService.method.list,
      { pageToken: forged("4294967296", ["limits", 1, { type: 0, shutOnly: false }]) },
      "page_token",
    ),
    bad(
      "a forged page token",
      listKeys,
      { pageToken: forged("soon/aaaaaaaaaaaa", ["keys", 1, null]) },
      "page_token",
    ),
    bad("a key id that is none", revokeKey, { keyId: "x" }, "key_id"),
    bad("an absent key", revokeKey, { keyId: "aaaaaaaaaaaa" }, /^$/, [5, "KEY_NOT_FOUND"]),
  ]);
});
