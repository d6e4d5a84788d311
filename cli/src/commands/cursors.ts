import { toJson } from "@bufbuild/protobuf";
import { type Cursor, CursorSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { type Command, InvalidArgumentError } from "commander";
import { wholeNumber } from "../arguments/number.js";
import { CHANNEL_HELP, parseChannel } from "../channel-ref.js";
import { usageError } from "../cli-error.js";
import type { Connection } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS } from "../job-json.js";
import { relative } from "../job-text.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
A channel is written ${CHANNEL_HELP}. A reset ends the consumer's live stream, drops its checkpoint unless that lies
at the same place, and is kept with its reason.

Examples:
  $ holdfast cursors ls heat
  $ holdfast cursors reset heat dashboard --to earliest --reason "rebuild after the bug of Monday"
  $ holdfast cursors reset heat dashboard --to 4711 --reason "skip what it cannot read"`;

type Place = "earliest" | "latest" | number;

interface ResetFlags {
  readonly to: Place;
  readonly partition: number;
  readonly reason: string;
}

export function addCursorsCommand(program: Command, cli: Cli): void {
  const cursors = program
    .command("cursors")
    .description("list and move the cursors of consumers")
    .addHelpText("after", AFTER_HELP);

  cursors
    .command("ls")
    .description("list how far the consumers of a channel got")
    .argument("<channel>", CHANNEL_HELP)
    .action((channel: string, _flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { signals } = connection();
        const ref = parseChannel(channel);
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await signals.listCursors({ channel: ref, ...page });
          return { items: answer.cursors, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: ["CONSUMER", "PARTITION", "ACKED", "DELIVERED", "CHECKPOINT", "LAG", "TOUCHED"],
          row: (cursor) => cursorRow(cursor, io.nowMs()),
          json: (cursor) => toJson(CursorSchema, cursor, JSON_OPTIONS),
          nothing: "No consumer has a cursor in this channel.",
        });
        return EXIT.ok;
      }),
    );

  cursors
    .command("reset")
    .description("move a cursor; the consumer goes on after the new place")
    .argument("<channel>", CHANNEL_HELP)
    .argument("<consumer>", "whose cursor")
    .requiredOption(
      "--to <place>",
      "earliest, latest, or the sequence that counts as acknowledged",
      parsePlace,
    )
    .requiredOption("--reason <text>", "why; kept with the cursor")
    .option("--partition <partition>", "which partition", wholeNumber(0, 63), 0)
    .action((channel: string, consumer: string, flags: ResetFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { signals } = connection();
        if (flags.reason.trim() === "") {
          throw usageError("--reason is empty.", "Say why the cursor is moved.");
        }
        const ackedThrough = await placeOf(signals, channel, flags);
        const { cursor } = await signals.resetCursor({
          channel: parseChannel(channel),
          consumer,
          partition: flags.partition,
          ackedThrough,
          reason: flags.reason,
        });
        if (cursor === undefined) throw new Error("the hub answered without a cursor");
        output.document(toJson(CursorSchema, cursor, JSON_OPTIONS), () =>
          [
            `${cursor.consumer} goes on after ${cursor.ackedThrough} of partition ${cursor.partition}`,
            `${cursor.lag} signals behind, ${relative(cursor.touchedAt, io.nowMs())}`,
          ].join("; "),
        );
        return EXIT.ok;
      }),
    );
}

async function placeOf(
  signals: Connection["signals"],
  channel: string,
  { to, partition }: ResetFlags,
): Promise<bigint> {
  if (typeof to === "number") {
    return BigInt(to);
  }
  const { channel: held } = await signals.getChannel({ channel: parseChannel(channel) });
  const head = held?.partitions[partition];
  if (head === undefined) {
    throw usageError(
      `The channel has no partition ${partition}.`,
      "`holdfast signals ls` shows how many it has.",
    );
  }
  return to === "latest" ? head.lastSequence : head.firstSequence - 1n;
}

function parsePlace(text: string): Place {
  if (text === "earliest" || text === "latest") {
    return text;
  }
  if (!/^\d{1,15}$/.test(text)) {
    throw new InvalidArgumentError(`"${text}" is not earliest, latest or a sequence.`);
  }
  return Number(text);
}

function cursorRow(cursor: Cursor, nowMs: number): string[] {
  return [
    cursor.consumer,
    String(cursor.partition),
    String(cursor.ackedThrough),
    String(cursor.deliveredThrough),
    cursor.checkpointSequence === undefined ? "-" : String(cursor.checkpointSequence),
    String(cursor.lag),
    relative(cursor.touchedAt, nowMs),
  ];
}
