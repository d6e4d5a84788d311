// The Subscribe stream. What goes down is pulled at the consumer's pace; what comes up is taken in order.
import {
  Start,
  type SubscribeOpen,
  type SubscribeRequest,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { SignalSubscription } from "../services/signal-subscription.js";
import type { Signals, SubscribeRequest as Subscribe } from "../services/signals.js";
import {
  checkBytes,
  checkCount,
  checkDuration,
  checkEnum,
  checkInteger,
  checkText,
  invalid,
} from "./check.js";
import type { EncodedResponse } from "./encoded.js";
import { toFault } from "./errors.js";
import type { Call } from "./implementation.js";
import { type EdgeLimits, hourMs, signalCreditMax } from "./limits.js";
import {
  checkPartition,
  checkSequence,
  encodeSubscriptionMessage,
  toChannelName,
} from "./signal-messages.js";

const starts = {
  cursor: Start.CURSOR,
  earliest: Start.EARLIEST,
  latest: Start.LATEST,
  at: Start.AT,
} as const;

export interface SubscribeParts {
  readonly signals: Signals;
  readonly limits: EdgeLimits;
  readonly onDefect: (error: unknown) => void;
}

export async function* subscribe(
  parts: SubscribeParts,
  requests: AsyncIterable<SubscribeRequest>,
  call: Call,
): AsyncGenerator<EncodedResponse> {
  const input = requests[Symbol.asyncIterator]();
  const first = await input.next();
  const subscription = await parts.signals.subscribe(
    call.principal,
    toOpen(first.done ? undefined : first.value),
  );
  call.signal.addEventListener("abort", () => subscription.end(null), { once: true });
  if (call.signal.aborted) subscription.end(null);
  try {
    void readAll(parts, subscription, input);
    for await (const message of subscription.messages()) yield encodeSubscriptionMessage(message);
  } finally {
    subscription.end(null);
    void input.return?.();
    await parts.signals.unsubscribe(subscription);
  }
}

async function readAll(
  parts: SubscribeParts,
  subscription: SignalSubscription,
  input: AsyncIterator<SubscribeRequest>,
): Promise<void> {
  const fail = (error: unknown) => subscription.end(toFault(error, parts.onDefect));
  try {
    for (let next = await input.next(); !next.done && !subscription.isEnded; next = await input.next())
      await take(parts.limits, subscription, next.value);
    await subscription.finish();
  } catch (error) {
    fail(error);
  }
}

/** Takes one message. */
async function take(
  limits: EdgeLimits,
  subscription: SignalSubscription,
  { message }: SubscribeRequest,
): Promise<void> {
  switch (message.case) {
    case "credit":
      return subscription.grant(
        checkInteger("credit.signals", message.value.signals, 0, signalCreditMax.signals),
        checkInteger("credit.bytes", message.value.bytes, 0, signalCreditMax.bytes),
      );
    case "ack": {
      const { ranges } = message.value;
      checkCount("ack.ranges", ranges.length, 1, 1_000);
      return subscription.acknowledge(
        checkPartition("ack.partition", message.value.partition),
        ranges.map(({ first, last }, at) => {
          const from = checkSequence(`ack.ranges[${at}].first`, first, 1);
          return { first: from, last: checkSequence(`ack.ranges[${at}].last`, last, from) };
        }),
      );
    }
    case "nack":
      return await subscription.refuse(
        checkPartition("nack.partition", message.value.partition),
        checkSequence("nack.sequence", message.value.sequence, 1),
        checkDuration("nack.delay", message.value.delay, hourMs, 0),
        checkText("nack.reason", message.value.reason, 1024),
      );
    case "checkpoint":
      return subscription.save(
        checkPartition("checkpoint.partition", message.value.partition),
        checkSequence("checkpoint.sequence", message.value.sequence, 0),
        checkBytes("checkpoint.state", message.value.state, limits.checkpointBytesMax, "checkpointBytesMax"),
      );
    case "open":
      throw invalid("message", "must not be open again: it is the first message, and only the first");
    case undefined:
      throw invalid("message", "is empty or of a kind that this hub does not know");
  }
}

function toOpen(request: SubscribeRequest | undefined): Subscribe {
  if (request?.message.case !== "open") throw invalid("open", "must be the first message");
  const open: SubscribeOpen = request.message.value;
  checkCount("open.partitions", open.partitions.length, 0, 64);
  const partitions = open.partitions.map((one, at) => checkPartition(`open.partitions[${at}]`, one));
  if (new Set(partitions).size < partitions.length)
    throw invalid("open.partitions", "must name each partition once");
  const consumer = checkText("open.consumer", open.consumer, 128);
  const start = toStart(open);
  if (consumer === "" && start.type === "cursor" && open.start === Start.CURSOR)
    throw invalid("open.consumer", "is required to start at a cursor");
  if (open.group && consumer === "") throw invalid("open.consumer", "is required to share partitions");
  if (open.group && partitions.length > 0)
    throw invalid("open.partitions", "must be empty to share them: the hub says which");
  if (open.group && start.type === "after")
    throw invalid("open.start", "must not be a sequence to share partitions: each has its own");
  return {
    channel: toChannelName(open.channel, "open.channel"),
    consumer: consumer === "" ? null : consumer,
    start,
    isMember: open.group,
    partitions: partitions.length > 0 ? partitions : null,
  };
}

function toStart(open: SubscribeOpen): Subscribe["start"] {
  const start = checkEnum<number>("open.start", open.start, starts, Start.CURSOR);
  switch (start) {
    case Start.EARLIEST:
      return { type: "earliest" };
    case Start.LATEST:
      return { type: "latest" };
    case Start.AT:
      return { type: "after", sequence: checkSequence("open.start_sequence", open.startSequence, 1) - 1 };
    default:
      return { type: "cursor" };
  }
}
