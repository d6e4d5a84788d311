import { toJson } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type ForwardCursor,
  type GetForwardingResponse,
  GetForwardingResponseSchema,
} from "@holdfast/gen/holdfast/v1/event_service_pb";
import type { Command } from "commander";
import { formatElapsed } from "../elapsed.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import type { Paint } from "../paint.js";
import { formatTable } from "../table.js";

const AFTER_HELP = `
Events wait in the ledger until the sink has them, so a lag loses nothing. One line for each life of a hub.

Examples:
  $ holdfast events status
  $ holdfast events status --json | jq '.cursors[] | select(.lag)'`;

export function addEventsCommand(program: Command, cli: Cli): void {
  const events = program.command("events").description("watch events on their way to the sink");
  events
    .command("status")
    .description("show how far events are forwarded, and what waits")
    .addHelpText("after", AFTER_HELP)
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const forwarding = await connection().events.getForwarding({});
        output.document(toJson(GetForwardingResponseSchema, forwarding, JSON_OPTIONS), () =>
          forwardingText(forwarding, output.paint),
        );
        return EXIT.ok;
      }),
    );
}

function forwardingText({ sink, cursors }: GetForwardingResponse, paint: Paint): string {
  if (sink === "") {
    return "This hub forwards no events: `holdfast hub --event-sink nats` does.";
  }
  const rows = cursors.map((cursor) => [
    String(cursor.writerId),
    cursor.host,
    life(cursor, paint),
    `${cursor.forwardedThrough} of ${cursor.lastPage}`,
    String(cursor.waitingEvents),
    cursor.lag === undefined ? "-" : formatElapsed(durationMs(cursor.lag)),
    cursor.claimedBy === 0 ? "-" : String(cursor.claimedBy),
  ]);
  const headings = ["WRITER", "HOST", "LIFE", "PAGES", "WAITING", "LAG", "FORWARDED BY"];
  return `sink ${sink}\n\n${formatTable(headings, rows, paint)}`;
}

function life(cursor: ForwardCursor, paint: Paint): string {
  if (cursor.done) {
    return "done";
  }
  return cursor.ended ? paint.warn("ended") : paint.good("lives");
}
