import { setTimeout as sleep } from "node:timers/promises";
import { create, type JsonObject, toJson } from "@bufbuild/protobuf";
import {
  type Channel,
  ChannelSchema,
  type PublishRequest,
  PublishRequestSchema,
  ReceiptSchema,
  type Signal,
  type SignalPage,
  SignalSchema,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { Command } from "commander";
import { wholeNumber } from "../arguments/number.js";
import { readPayload } from "../arguments/payload.js";
import { CHANNEL_HELP, channelText, parseChannel } from "../channel-ref.js";
import { CliError } from "../cli-error.js";
import { type Connection, NO_TIMEOUT } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { JSON_OPTIONS, readable } from "../job-json.js";
import { relative } from "../job-text.js";
import type { Output } from "../output.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
A channel is written ${CHANNEL_HELP}.

Examples:
  $ holdfast signals publish heat --payload '{"celsius":61}' --key line-3
  $ holdfast signals tail heat --follow --json | jq .payloadValue
  $ holdfast signals ls`;

const POLL_MS = 300;
const PAGE_SIGNALS = 500;

interface PublishFlags {
  readonly payload: string;
  readonly contentType?: string;
  readonly key?: string;
  readonly producer?: string;
}

interface TailFlags {
  readonly from?: number;
  readonly partition: number;
  readonly follow?: boolean;
}

export function addSignalsCommand(program: Command, cli: Cli): void {
  const signals = program
    .command("signals")
    .description("publish signals, look at them, and list channels")
    .addHelpText("after", AFTER_HELP);

  signals
    .command("publish")
    .description("publish one signal, and say where it is stored")
    .argument("<channel>", CHANNEL_HELP)
    .requiredOption("--payload <payload>", "JSON, @FILE, or - for stdin")
    .option("--content-type <type>", "media type of the payload; application/json when absent")
    .option("--key <key>", "signals with the same key stay in order")
    .option("--producer <name>", "name of the producer; a new one each time when absent")
    .action((channel: string, flags: PublishFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const payload = await readPayload(flags.payload, flags.contentType, io);
        const ref = parseChannel(channel);
        const receipt = await publishOne(connection(), ref, flags, {
          payload: payload.bytes,
          contentType: payload.contentType,
          key: flags.key ?? "",
        });
        output.document(toJson(ReceiptSchema, receipt, JSON_OPTIONS), () => {
          const { outcome } = receipt;
          if (outcome.case !== "stored") return `dropped: ${outcome.value?.reason ?? ""}`;
          return `stored at ${outcome.value.firstSequence} of partition ${outcome.value.partition}`;
        });
        return receipt.outcome.case === "stored" ? EXIT.ok : EXIT.refused;
      }),
    );

  signals
    .command("tail")
    .description("show the signals that a channel holds, without any cursor")
    .argument("<channel>", CHANNEL_HELP)
    .option("--from <sequence>", "begin here; with the first that is held when absent", wholeNumber(1, 1e15))
    .option("--partition <partition>", "which partition", wholeNumber(0, 63), 0)
    .option("--follow", "go on with what is published, until interrupted")
    .action((channel: string, flags: TailFlags, command: Command) =>
      perform(cli, command, async ({ output, connection }) => {
        const { signals: service } = connection();
        const ref = parseChannel(channel);
        let from = BigInt(flags.from ?? 0);
        for (;;) {
          const { pages } = await service.listSignals({
            channel: ref,
            partition: flags.partition,
            fromSequence: from,
            pageSize: PAGE_SIGNALS,
          });
          for (const page of pages) {
            writePage(output, page);
            from = page.firstSequence + BigInt(page.signals.length);
          }
          if (pages.length > 0) continue;
          if (!flags.follow) return EXIT.ok;
          await sleep(POLL_MS);
        }
      }),
    );

  signals
    .command("ls")
    .description("list channels")
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const { signals: service } = connection();
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await service.listChannels(page);
          return { items: answer.channels, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: ["CHANNEL", "PARTITIONS", "SIGNALS HELD", "PUBLISHED", "BYTES", "CREATED"],
          row: (one) => channelRow(one, io.nowMs()),
          json: (one) => toJson(ChannelSchema, one, JSON_OPTIONS),
          nothing: "There are no channels: the first signal published to one makes it.",
        });
        return EXIT.ok;
      }),
    );
}

async function publishOne(
  connection: Connection,
  channel: ReturnType<typeof parseChannel>,
  { producer = `cli-${crypto.randomUUID()}` }: PublishFlags,
  signal: Pick<Signal, "payload" | "contentType" | "key">,
) {
  let say: (request: PublishRequest | null) => void = () => undefined;
  const requests = (async function* () {
    const value = { channel, producer };
    yield create(PublishRequestSchema, { message: { case: "open", value } });
    for (;;) {
      const request = await new Promise<PublishRequest | null>((resolve) => {
        say = resolve;
      });
      if (request === null) return;
      yield request;
    }
  })();
  const { client, close } = connection.openSignalStreams();
  try {
    for await (const { message } of client.publish(requests, NO_TIMEOUT)) {
      if (message.case === "opened") {
        const signals = [{ ...signal, producerSequence: message.value.lastProducerSequence + 1n }];
        say(create(PublishRequestSchema, { message: { case: "batch", value: { signals } } }));
      }
      const receipt = message.case === "receipts" ? message.value.receipts[0] : undefined;
      if (receipt !== undefined) return receipt;
    }
  } finally {
    say(null);
    close();
  }
  throw new CliError("The hub ended the stream without a receipt.", {
    exitCode: EXIT.unavailable,
    reason: "UNAVAILABLE",
    next: "Try again.",
  });
}

function writePage(output: Output, page: SignalPage): void {
  for (const [at, signal] of page.signals.entries()) {
    const sequence = page.firstSequence + BigInt(at);
    const value = readable(signal.payload, signal.contentType);
    const json = toJson(SignalSchema, signal, JSON_OPTIONS) as JsonObject;
    output.item({
      sequence: String(sequence),
      producer: page.producer,
      ...json,
      ...(value !== undefined && { payloadValue: value }),
    });
    const text = value === undefined ? `${signal.payload.length} bytes` : JSON.stringify(value);
    output.line(`${output.paint.faint(String(sequence))}  ${signal.key && `${signal.key}  `}${text}`);
  }
}

function channelRow(channel: Channel, nowMs: number): string[] {
  let held = 0n;
  let published = 0n;
  let bytes = 0n;
  for (const partition of channel.partitions) {
    held += partition.lastSequence - partition.firstSequence + 1n;
    published += partition.lastSequence;
    bytes += partition.heldBytes;
  }
  return [
    channelText(channel.ref),
    String(channel.partitions.length),
    String(held),
    String(published),
    String(bytes),
    relative(channel.createdAt, nowMs),
  ];
}
