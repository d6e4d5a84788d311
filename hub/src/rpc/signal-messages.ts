// Between the messages of SignalService and what the services speak. A page's body is the wire form of its signals,
// so it goes out as it is stored; this file is the one place that knows it.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ChannelRef,
  GapReason,
  type PublishResponse,
  PublishResponseSchema,
  type Signal,
  type SignalPage as SignalPageMessage,
  SignalPageSchema,
  SubscribeResponseSchema,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { type ChannelName, OwnerType, partitionsMax } from "../domain/channel.js";
import type { SignalPage } from "../domain/signal-page.js";
import type { MarkDead } from "../services/dead-letters.js";
import type { PublishReceipt, SubscriptionMessage } from "../services/signal-messages.js";
import type { NewSignal } from "../services/signal-parts.js";
import { checkBytes, checkCount, checkInteger, checkName, checkText, checkUuid, invalid } from "./check.js";
import { EncodedResponse } from "./encoded.js";
import { type EdgeLimits, publishBytesMax, publishSignalsMax } from "./limits.js";
import { encodeRecord } from "./signal-record.js";

export function checkSequence(field: string, sequence: bigint, min: number): number {
  return checkInteger(field, sequence, min, Number.MAX_SAFE_INTEGER);
}

export function checkPartition(field: string, partition: number): number {
  return checkInteger(field, partition, 0, partitionsMax - 1);
}

export function toChannelName(ref: ChannelRef | undefined, field: string): ChannelName {
  if (!ref) throw invalid(field, "is required");
  const name = checkName(`${field}.name`, ref.name);
  switch (ref.owner.case) {
    case "jobId":
      return { ownerType: OwnerType.Job, owner: checkUuid(`${field}.job_id`, ref.owner.value), name };
    case "runId":
      return { ownerType: OwnerType.Run, owner: checkUuid(`${field}.run_id`, ref.owner.value), name };
    default:
      return {
        ownerType: OwnerType.Name,
        owner: checkName(`${field}.owner_name`, ref.owner.value ?? "", "default"),
        name,
      };
  }
}

/** Checks a batch, all or nothing, and gives its signals the form in which they are stored. */
export function toNewSignals(
  signals: readonly Signal[],
  limits: EdgeLimits,
): { signals: NewSignal[]; bytes: number } {
  checkCount("batch.signals", signals.length, 1, publishSignalsMax);
  let bytes = 0;
  let before = 0n;
  const checked = signals.map((signal, at) => {
    const field = `batch.signals[${at}]`;
    const number = checkSequence(`${field}.producer_sequence`, signal.producerSequence, 1);
    if (signal.producerSequence <= before)
      throw invalid(`${field}.producer_sequence`, "must be above the one before it");
    before = signal.producerSequence;
    const key = checkText(`${field}.key`, signal.key, 256);
    checkBytes(`${field}.payload`, signal.payload, limits.signalBytesMax, "signalBytesMax");
    checkText(`${field}.content_type`, signal.contentType, 255);
    checkText(`${field}.traceparent`, signal.traceparent, 256);
    if (signal.deadLetter) throw invalid(`${field}.dead_letter`, "is set by the hub");
    const record = encodeRecord(signal);
    bytes += record.length;
    return { number, key, record };
  });
  if (bytes > publishBytesMax)
    throw invalid("batch.signals", `must have at most ${publishBytesMax} bytes together`);
  return { signals: checked, bytes };
}

export function toReceiptsMessage(receipts: readonly PublishReceipt[]): PublishResponse {
  return create(PublishResponseSchema, {
    message: {
      case: "receipts",
      value: {
        receipts: receipts.map((receipt) => ({
          producerSequence: BigInt(receipt.number),
          count: receipt.count,
          outcome:
            receipt.type === "dropped"
              ? { case: "dropped" as const, value: { reason: receipt.reason } }
              : {
                  case: "stored" as const,
                  value: {
                    partition: receipt.partition,
                    firstSequence: BigInt(receipt.firstSequence),
                    duplicate: receipt.isDuplicate,
                  },
                },
        })),
      },
    },
  });
}

/** A page as a message: for answers that are not streams. */
export function toPageMessage(page: SignalPage): SignalPageMessage {
  return fromBinary(SignalPageSchema, Buffer.concat([pageHeader(page), page.body]));
}

/** Messages that hold one whole page, as a live follower is sent them: encoded once for all followers. */
const encodedPages = new WeakMap<SignalPage, EncodedResponse>();

export function encodeSubscriptionMessage(message: SubscriptionMessage): EncodedResponse {
  if (message.type !== "signals")
    return new EncodedResponse(
      toBinary(SubscribeResponseSchema, create(SubscribeResponseSchema, { message: toMessage(message) })),
    );
  const [only] = message.pages;
  if (message.pages.length !== 1 || !only || message.isRedelivered) return encodeSignals(message);
  let encoded = encodedPages.get(only);
  if (!encoded) {
    encoded = encodeSignals(message);
    encodedPages.set(only, encoded);
  }
  return encoded;
}

/** SubscribeResponse { signals = 2: Signals { partition = 1, redelivered = 2, pages = 3 } } */
function encodeSignals(message: Extract<SubscriptionMessage, { type: "signals" }>): EncodedResponse {
  const parts: Uint8Array[] = [];
  let length = 0;
  const add = (part: Uint8Array) => {
    parts.push(part);
    length += part.length;
  };
  const head = new BinaryWriter();
  if (message.partition !== 0) head.tag(1, WireType.Varint).int32(message.partition);
  if (message.isRedelivered) head.tag(2, WireType.Varint).bool(true);
  add(head.finish());
  for (const page of message.pages) {
    const header = pageHeader(page);
    add(lengthDelimited(3, header.length + page.body.length));
    add(header);
    add(page.body);
  }
  parts.unshift(lengthDelimited(2, length));
  return new EncodedResponse(Buffer.concat(parts));
}

function lengthDelimited(field: number, length: number): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish();
}

/** SignalPage { first_sequence = 1, published_at = 2, producer = 3 }, without its signals. */
function pageHeader(page: SignalPage): Uint8Array {
  return new BinaryWriter()
    .tag(1, WireType.Varint)
    .int64(page.firstSequence)
    .tag(2, WireType.LengthDelimited)
    .bytes(toBinary(TimestampSchema, timestampFromMs(Math.round(page.publishedAtMs))))
    .tag(3, WireType.LengthDelimited)
    .string(page.producer)
    .finish();
}

function toMessage(message: Exclude<SubscriptionMessage, { type: "signals" }>) {
  const { partition } = message;
  switch (message.type) {
    case "restored":
      return {
        case: "restored" as const,
        value: {
          partition,
          ackedThrough: BigInt(message.ackedThrough),
          position: BigInt(message.position),
          ...(message.checkpoint && {
            checkpoint: {
              sequence: BigInt(message.checkpoint.sequence),
              state: new Uint8Array(message.checkpoint.state),
            },
          }),
        },
      };
    case "gap":
      return {
        case: "gap" as const,
        value: {
          partition,
          firstMissing: BigInt(message.firstMissing),
          lastMissing: BigInt(message.lastMissing),
          reason: gapReasons[message.reason],
        },
      };
    case "caught_up":
      return { case: "caughtUp" as const, value: { partition, sequence: BigInt(message.sequence) } };
    case "cursor":
      return { case: "cursor" as const, value: { partition, ackedThrough: BigInt(message.ackedThrough) } };
    case "checkpoint_saved":
      return { case: "checkpointSaved" as const, value: { partition, sequence: BigInt(message.sequence) } };
    case "revoked":
      return { case: "revoked" as const, value: { partition } };
  }
}

const gapReasons = {
  cursor_too_old: GapReason.CURSOR_TOO_OLD,
  lagged: GapReason.LAGGED,
  dead_lettered: GapReason.DEAD_LETTERED,
} as const;

/** A dead letter: the signal as it was, and where it comes from. */
export const markDead: MarkDead = (page, origin) => {
  const [signal] = toPageMessage(page).signals;
  if (!signal) throw new Error("A page without a signal cannot be buried.");
  return encodeRecord({
    ...signal,
    deadLetter: {
      $typeName: "holdfast.v1.DeadLetterOrigin",
      ...origin,
      sequence: BigInt(origin.sequence),
    },
  });
};
