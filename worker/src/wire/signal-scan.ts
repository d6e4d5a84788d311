import { WireCursor } from "./wire-cursor.js";

/**
 * Signals on their way to a handler, as places in the message that they came in: a handler looks at few of their
 * fields, and the general decoder would be the largest cost of a consumer. The tests hold the two to the same answers.
 */
export type ScannedSignals = {
  readonly partition: number;
  readonly isRedelivered: boolean;
  readonly pages: readonly ScannedPage[];
};

/** What the signals of a page share, and where each is. */
export type ScannedPage = {
  firstSequence: number;
  publishedAtMs: number;
  producer: string;
  /** For each: where its entry begins, where its fields begin, where both end. */
  readonly places: number[];
};

export type ScannedFields = {
  key: string;
  payloadStart: number;
  payloadEnd: number;
  contentType: string;
  traceparent: string;
  deadLetterStart: number;
  deadLetterEnd: number;
};

/** Tag of SubscribeResponse.signals. */
const signalsTag = 0x12;
/** Field number << 3 | wire type, of holdfast.v1.Signals, SignalPage, Timestamp and Signal. */
const messageTag = { partition: 0x08, redelivered: 0x10, pages: 0x1a } as const;
const pageTag = { firstSequence: 0x08, publishedAt: 0x12, producer: 0x1a, signals: 0x22 } as const;
const timestampTag = { seconds: 0x08, nanos: 0x10 } as const;
const fieldTag = {
  key: 0x12,
  payload: 0x1a,
  contentType: 0x22,
  traceparent: 0x2a,
  deadLetter: 0x32,
} as const;

/** The signals of a SubscribeResponse; undefined when it holds something else. */
export function scanSignals(bytes: Buffer): ScannedSignals | undefined {
  if (bytes[0] !== signalsTag) return undefined;
  const outer = new WireCursor(bytes, 1, bytes.length);
  const end = outer.enter();
  const cursor = new WireCursor(bytes, outer.pos, end);
  let partition = 0;
  let isRedelivered = false;
  const pages: ScannedPage[] = [];
  while (cursor.pos < end) {
    const tag = cursor.varint();
    if (tag === messageTag.partition) partition = cursor.varint();
    else if (tag === messageTag.redelivered) isRedelivered = cursor.varint() === 1;
    else if (tag === messageTag.pages) {
      const pageEnd = cursor.enter();
      pages.push(scanPage(bytes, cursor.pos, pageEnd));
      cursor.pos = pageEnd;
    } else cursor.skip(tag);
  }
  return { partition, isRedelivered, pages };
}

/** The signals of a holdfast.v1.SignalPage between `start` and `end`. */
export function scanPage(bytes: Buffer, start: number, end: number): ScannedPage {
  const page: ScannedPage = { firstSequence: 0, publishedAtMs: 0, producer: "", places: [] };
  const cursor = new WireCursor(bytes, start, end);
  while (cursor.pos < end) {
    const entryStart = cursor.pos;
    const tag = cursor.varint();
    switch (tag) {
      case pageTag.signals: {
        const entryEnd = cursor.enter();
        page.places.push(entryStart, cursor.pos, entryEnd);
        cursor.pos = entryEnd;
        break;
      }
      case pageTag.firstSequence:
        page.firstSequence = cursor.varint();
        break;
      case pageTag.publishedAt:
        page.publishedAtMs = readTimestamp(cursor);
        break;
      case pageTag.producer:
        page.producer = readText(cursor);
        break;
      default:
        cursor.skip(tag);
    }
  }
  return page;
}

/** The fields of one signal, which lie between `start` and `end`. */
export function scanFields(bytes: Buffer, start: number, end: number): ScannedFields {
  const fields: ScannedFields = {
    key: "",
    payloadStart: start,
    payloadEnd: start,
    contentType: "",
    traceparent: "",
    deadLetterStart: start,
    deadLetterEnd: start,
  };
  const cursor = new WireCursor(bytes, start, end);
  while (cursor.pos < end) {
    const tag = cursor.varint();
    switch (tag) {
      case fieldTag.key:
        fields.key = readText(cursor);
        break;
      case fieldTag.payload:
        fields.payloadEnd = cursor.enter();
        fields.payloadStart = cursor.pos;
        cursor.pos = fields.payloadEnd;
        break;
      case fieldTag.contentType:
        fields.contentType = readText(cursor);
        break;
      case fieldTag.traceparent:
        fields.traceparent = readText(cursor);
        break;
      case fieldTag.deadLetter:
        fields.deadLetterEnd = cursor.enter();
        fields.deadLetterStart = cursor.pos;
        cursor.pos = fields.deadLetterEnd;
        break;
      default:
        cursor.skip(tag);
    }
  }
  return fields;
}

function readText(cursor: WireCursor): string {
  const end = cursor.enter();
  const text = cursor.bytes.toString("utf8", cursor.pos, end);
  cursor.pos = end;
  return text;
}

function readTimestamp(outer: WireCursor): number {
  const end = outer.enter();
  const cursor = new WireCursor(outer.bytes, outer.pos, end);
  let ms = 0;
  while (cursor.pos < end) {
    const tag = cursor.varint();
    if (tag === timestampTag.seconds) ms += cursor.varint() * 1_000;
    else if (tag === timestampTag.nanos) ms += Math.floor(cursor.varint() / 1_000_000);
    else cursor.skip(tag);
  }
  outer.pos = end;
  return ms;
}
