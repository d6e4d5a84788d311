// A signal as it is stored: one entry of SignalPage.signals. Written field by field, because a hub does this for every
// signal that is published and the general encoder takes a quarter of its time; the tests hold the two to the same bytes.
import { toBinary } from "@bufbuild/protobuf";
import { DeadLetterOriginSchema, type Signal } from "@holdfast/gen/holdfast/v1/signal_service_pb";

/** Tag of SignalPage.signals; a page's body is a row of entries. */
const signalsTag = 0x22;
const numberTag = 0x08;
/** Tags of the fields after the number, in order: key, payload, content_type, traceparent, dead_letter. */
const fieldTags = [0x12, 0x1a, 0x22, 0x2a, 0x32] as const;

/** Fields that this version does not know are left out. */
export function encodeRecord(signal: Omit<Signal, "$typeName">): Uint8Array {
  const { key, payload, contentType, traceparent, deadLetter } = signal;
  const origin = deadLetter ? toBinary(DeadLetterOriginSchema, deadLetter) : "";
  const fields = [key, payload, contentType, traceparent, origin];
  const number = Number(signal.producerSequence);
  let length = 1 + varintLength(number);
  const lengths = fields.map((field) =>
    typeof field === "string" ? Buffer.byteLength(field) : field.length,
  );
  for (const size of lengths) if (size > 0) length += 1 + varintLength(size) + size;
  const record = Buffer.allocUnsafe(1 + varintLength(length) + length);
  record[0] = signalsTag;
  let at = putVarint(record, 1, length);
  record[at++] = numberTag;
  at = putVarint(record, at, number);
  for (const [which, field] of fields.entries()) {
    const size = lengths[which] as number;
    if (size === 0) continue;
    record[at++] = fieldTags[which] as number;
    at = putVarint(record, at, size);
    if (typeof field === "string") record.write(field, at);
    else record.set(field, at);
    at += size;
  }
  return record;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest /= 128) length += 1;
  return length;
}

function putVarint(target: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 128) {
    target[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[at++] = rest;
  return at;
}
