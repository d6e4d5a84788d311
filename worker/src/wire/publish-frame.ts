import { putVarint, varintLength } from "./byte-writer.js";

// What is published, written once: the fields of a signal when it is published, its number when it is first sent.

/** Field number << 3 | wire type, of holdfast.v1.Signal. */
const signalTag = { number: 0x08, key: 0x12, payload: 0x1a, contentType: 0x22, traceparent: 0x2a } as const;

/** Tags of PublishBatch.signals and PublishRequest.batch. */
const signalsTag = 0x0a;
const batchTag = 0x12;

/** The fields of a holdfast.v1.Signal, but for its number. */
export function signalFields(signal: {
  readonly key: string;
  readonly payload: Uint8Array | string;
  readonly contentType: string;
  readonly traceparent: string;
}): Uint8Array {
  const values = [signal.key, signal.payload, signal.contentType, signal.traceparent] as const;
  const tags = [signalTag.key, signalTag.payload, signalTag.contentType, signalTag.traceparent] as const;
  const lengths = values.map((value) =>
    typeof value === "string" ? Buffer.byteLength(value) : value.length,
  );
  let total = 0;
  for (const length of lengths) if (length > 0) total += 1 + varintLength(length) + length;
  const fields = Buffer.allocUnsafe(total);
  let at = 0;
  for (let field = 0; field < values.length; field += 1) {
    const value = values[field] as string | Uint8Array;
    const length = lengths[field] as number;
    if (length === 0) continue;
    fields[at++] = tags[field] as number;
    at = putVarint(fields, at, length);
    if (typeof value === "string") fields.write(value, at);
    else fields.set(value, at);
    at += length;
  }
  return fields;
}

/** One entry of PublishBatch.signals. */
export function numberedRecord(number: number, fields: Uint8Array): Uint8Array {
  const length = 1 + varintLength(number) + fields.length;
  const record = Buffer.allocUnsafe(1 + varintLength(length) + length);
  record[0] = signalsTag;
  let at = putVarint(record, 1, length);
  record[at++] = signalTag.number;
  at = putVarint(record, at, number);
  record.set(fields, at);
  return record;
}

/** A PublishRequest with a batch of records, which have so many bytes together. */
export function framePublishBatch(records: readonly Uint8Array[], bytes: number): Uint8Array {
  const frame = Buffer.allocUnsafe(1 + varintLength(bytes) + bytes);
  frame[0] = batchTag;
  let at = putVarint(frame, 1, bytes);
  for (const record of records) {
    frame.set(record, at);
    at += record.length;
  }
  return frame;
}
