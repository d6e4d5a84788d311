import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  PublishRequestSchema,
  SignalSchema,
  SubscribeResponseSchema,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReceivedSignal } from "../signals/received-signal.js";
import { framePublishBatch, numberedRecord, signalFields } from "./publish-frame.js";
import { scanSignals } from "./signal-scan.js";
import { asBuffer, WireError } from "./wire-cursor.js";

const text = fc.string({ unit: "grapheme", maxLength: 200 });
const count = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 100 });
const payload = fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes));
const signal = fc.record({ key: text, payload, contentType: text, traceparent: text });
const deadLetter = fc.record({
  channel: text,
  partition: fc.nat(63),
  sequence: count.map(BigInt),
  consumer: text,
  deliveries: fc.nat(100),
  reason: text,
});
const page = fc.record({
  firstSequence: count,
  publishedAtMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  producer: text,
  signals: fc.array(
    fc.record({
      producerSequence: count.map(BigInt),
      key: text,
      payload,
      contentType: text,
      traceparent: text,
      deadLetter: fc.option(deadLetter, { nil: undefined }),
    }),
    { maxLength: 4 },
  ),
});

describe("the readers and writers of signals agree with the generated code", () => {
  test("on what is published, whatever was published before under other numbers", () => {
    fc.assert(
      fc.property(fc.array(signal, { minLength: 1, maxLength: 5 }), count, (signals, first) => {
        const records = signals.map((one, at) => numberedRecord(first + at, signalFields(one)));
        const bytes = records.reduce((sum, record) => sum + record.length, 0);
        const { message } = fromBinary(
          PublishRequestSchema,
          new Uint8Array(framePublishBatch(records, bytes)),
        );
        expect(message.case).toBe("batch");
        expect(message.case === "batch" && message.value.signals).toEqual(
          signals.map((one, at) => create(SignalSchema, { ...one, producerSequence: BigInt(first + at) })),
        );
      }),
    );
  });

  test("on text that is published as it is", () => {
    fc.assert(
      fc.property(text, (given) => {
        const fields = signalFields({ key: "", payload: given, contentType: "", traceparent: "" });
        expect(Buffer.from(fromBinary(SignalSchema, fields).payload).toString()).toBe(
          Buffer.from(given).toString(),
        );
      }),
    );
  });

  test("on signals that are received, and on what each costs", () => {
    fc.assert(
      fc.property(
        fc.nat(63),
        fc.boolean(),
        fc.array(page, { maxLength: 3 }),
        (partition, redelivered, pages) => {
          const sent = create(SubscribeResponseSchema, {
            message: {
              case: "signals",
              value: {
                partition,
                redelivered,
                pages: pages.map(({ firstSequence, publishedAtMs, ...rest }) => ({
                  ...rest,
                  firstSequence: BigInt(firstSequence),
                  publishedAt: timestampFromMs(publishedAtMs),
                })),
              },
            },
          });
          const bytes = asBuffer(toBinary(SubscribeResponseSchema, sent));
          const decoded = fromBinary(SubscribeResponseSchema, new Uint8Array(bytes)).message;
          if (decoded.case !== "signals") throw new Error("not signals");
          const scanned = scanSignals(bytes);
          expect(scanned?.partition).toBe(decoded.value.partition);
          expect(scanned?.isRedelivered).toBe(decoded.value.redelivered);
          expect(scanned?.pages.length).toBe(decoded.value.pages.length);
          for (const [at, expected] of decoded.value.pages.entries()) {
            const found = scanned?.pages[at];
            if (found === undefined) throw new Error("a page is missing");
            expect(found.places.length).toBe(3 * expected.signals.length);
            for (const [index, wanted] of expected.signals.entries()) {
              const received = new ReceivedSignal(bytes, found, index, partition, redelivered);
              expect(received).toMatchObject({ sequence: Number(expected.firstSequence) + index, partition });
              expect(received.producer).toBe(expected.producer);
              expect(received.publishedAt).toEqual(timestampDate(expected.publishedAt as Timestamp));
              expect(received.key).toBe(wanted.key);
              expect(received.payload).toEqual(wanted.payload);
              expect(received.contentType).toBe(wanted.contentType || "application/octet-stream");
              expect(received.traceparent).toBe(wanted.traceparent);
              expect(received.deadLetter).toEqual(wanted.deadLetter);
              const { length } = toBinary(SignalSchema, wanted);
              const [start = 0, , end = 0] = found.places.slice(3 * index);
              expect(end - start).toBe(1 + (length < 128 ? 1 : length < 16_384 ? 2 : 3) + length);
            }
          }
        },
      ),
    );
  });

  test("a message of another kind is none, and one that is cut short is refused", () => {
    const other = create(SubscribeResponseSchema, { message: { case: "caughtUp", value: { sequence: 7n } } });
    expect(scanSignals(asBuffer(toBinary(SubscribeResponseSchema, other)))).toBeUndefined();
    const sent = create(SubscribeResponseSchema, {
      message: { case: "signals", value: { pages: [{ signals: [{ key: "key" }] }] } },
    });
    const bytes = asBuffer(toBinary(SubscribeResponseSchema, sent));
    for (let length = 1; length < bytes.length; length += 1)
      expect(() => scanSignals(bytes.subarray(0, length))).toThrow(WireError);
  });
});
