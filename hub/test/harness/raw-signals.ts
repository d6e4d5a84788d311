import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ChannelRefSchema,
  type Receipt,
  type SignalSchema,
  SignalService,
  type Start,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { RawClient } from "./raw-client.js";
import { duration } from "./raw-jobs.js";

type ChannelInit = MessageInitShape<typeof ChannelRefSchema>;
type SignalInit = MessageInitShape<typeof SignalSchema>;
type OpenInit = {
  readonly consumer?: string;
  readonly start?: Start;
  readonly startSequence?: bigint;
  readonly partitions?: number[];
  readonly group?: boolean;
};

export type RawSubscriber = ReturnType<typeof openSubscriber>;

/** A Publish stream, opened. */
export async function openPublisher(client: RawClient, channel: ChannelInit, producer = "producer") {
  const stream = client.duplex(SignalService.method.publish);
  stream.send({ message: { case: "open", value: { channel, producer } } });
  const opened = await stream.next("opened");
  let number = opened.lastProducerSequence;
  const send = (signals: readonly SignalInit[]) =>
    stream.send({ message: { case: "batch", value: { signals: [...signals] } } });
  return {
    stream,
    opened,
    send,
    /** Publishes with numbers of its own after the newest; answers the receipts. */
    async publish(payloads: readonly (string | SignalInit)[]): Promise<readonly Receipt[]> {
      send(
        payloads.map((one) => {
          number += 1n;
          const signal = typeof one === "string" ? { payload: Buffer.from(one) } : one;
          return { producerSequence: number, ...signal };
        }),
      );
      return (await stream.next("receipts")).receipts;
    },
  };
}

/** One signal as a subscriber saw it. */
export interface SeenSignal {
  readonly sequence: number;
  readonly partition: number;
  readonly text: string;
  readonly isRedelivered: boolean;
}

/** A Subscribe stream; credit for as much as tests publish unless it says otherwise. */
export function openSubscriber(
  client: RawClient,
  channel: ChannelInit,
  open: OpenInit = {},
  credit = { signals: 100_000, bytes: 256 << 20 },
) {
  const stream = client.duplex(SignalService.method.subscribe);
  stream.send({ message: { case: "open", value: { channel, ...open } } });
  const grant = (signals: number, bytes: number) =>
    stream.send({ message: { case: "credit", value: { signals, bytes: BigInt(bytes) } } });
  if (credit.signals > 0) grant(credit.signals, credit.bytes);
  const seen = (): SeenSignal[] =>
    stream.received.flatMap(({ message }) => (message.case === "signals" ? seenIn(message.value) : []));
  return {
    stream,
    grant,
    seen,
    ack: (first: number, last = first, partition = 0) =>
      stream.send({
        message: {
          case: "ack",
          value: { partition, ranges: [{ first: BigInt(first), last: BigInt(last) }] },
        },
      }),
    checkpoint: (sequence: number, state: string, partition = 0) =>
      stream.send({
        message: {
          case: "checkpoint",
          value: { partition, sequence: BigInt(sequence), state: Buffer.from(state) },
        },
      }),
    nack: (sequence: number, reason = "", delayMs = 0) =>
      stream.send({
        message: {
          case: "nack",
          value: { sequence: BigInt(sequence), reason, delay: duration(delayMs) },
        },
      }),
  };
}

function seenIn(value: {
  partition: number;
  redelivered: boolean;
  pages: readonly { firstSequence: bigint; signals: readonly { payload: Uint8Array }[] }[];
}): SeenSignal[] {
  return value.pages.flatMap((page) =>
    page.signals.map(({ payload }, at) => ({
      sequence: Number(page.firstSequence) + at,
      partition: value.partition,
      text: Buffer.from(payload).toString(),
      isRedelivered: value.redelivered,
    })),
  );
}
