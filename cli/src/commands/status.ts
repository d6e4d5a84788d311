import { toJson } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type GetStatusResponse, GetStatusResponseSchema } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import type { Command } from "commander";
import { formatElapsed, formatLatency } from "../elapsed.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { relative, time } from "../job-text.js";
import { priorityWord } from "../job-words.js";
import type { Paint } from "../paint.js";
import { formatFields, formatTable } from "../table.js";

const AFTER_HELP = `
Examples:
  $ holdfast status
  $ holdfast status --json | jq .ledger`;

export function addStatusCommand(program: Command, cli: Cli): void {
  program
    .command("status")
    .description("show the hub, its fleet, its ledger and its lanes")
    .addHelpText("after", AFTER_HELP)
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const status = await connection().fleet.getStatus({});
        output.document(toJson(GetStatusResponseSchema, status, JSON_OPTIONS), () =>
          statusText(status, io.nowMs(), output.paint),
        );
        return EXIT.ok;
      }),
    );
}

function statusText(status: GetStatusResponse, nowMs: number, paint: Paint): string {
  const { ledger } = status;
  const about = formatFields(
    [
      ["hub", `version ${status.hubVersion}, writer ${status.writerId}`],
      ["started", time(status.startedAt, nowMs)],
      ["streams", String(status.streams)],
      [
        "ledger",
        ledger &&
          `PostgreSQL ${ledger.postgresVersion}${ledger.embedded ? " (embedded)" : ""}, migration ${ledger.migration}, synchronous_commit ${ledger.synchronousCommit}`,
      ],
      ["round trip", ledger?.roundTrip && formatLatency(durationMs(ledger.roundTrip))],
    ],
    paint,
  );
  const parts = status.hubs.length > 1 ? [about, hubsText(status, nowMs, paint)] : [about];
  return [...parts, lanesText(status, paint)].join("\n\n");
}

/** A fleet: the answering hub is marked. */
function hubsText({ hubs, writerId }: GetStatusResponse, nowMs: number, paint: Paint): string {
  const rows = hubs.map((hub) => [
    `${hub.writerId}${hub.writerId === writerId ? " (this)" : ""}`,
    hub.hubVersion,
    hub.host,
    relative(hub.startedAt, nowMs),
    String(hub.sessions),
  ]);
  return formatTable(["HUB", "VERSION", "HOST", "STARTED", "SESSIONS"], rows, paint);
}

function lanesText(status: GetStatusResponse, paint: Paint): string {
  if (status.lanes.length === 0) {
    return "No lane is known: no job waits.";
  }
  const rows = status.lanes.map((lane) => [
    `${lane.product}/${lane.queue}`,
    lane.kind,
    priorityWord(lane.priority) + (lane.retry ? " (retries)" : ""),
    lane.capabilities.join(",") || "-",
    lane.source || "-",
    lane.fairness === undefined ? "-" : `${lane.fairness.key} (${lane.fairness.weight})`,
    lane.hasRest ? `${lane.window} and more in the ledger` : String(lane.window),
    lane.headAge === undefined ? "-" : formatElapsed(durationMs(lane.headAge)),
  ]);
  return formatTable(
    ["LANE", "KIND", "PRIORITY", "CAPABILITIES", "SOURCE", "FAIRNESS", "WAITING", "OLDEST"],
    rows,
    paint,
  );
}
