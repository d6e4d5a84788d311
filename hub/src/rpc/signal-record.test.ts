import { create, toBinary } from "@bufbuild/protobuf";
import { SignalPageSchema, SignalSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import fc from "fast-check";
import { expect, it } from "vitest";
import { encodeRecord } from "./signal-record.js";

const text = fc.string({ unit: "grapheme", maxLength: 200 });
const number = fc.bigInt({ min: 1n, max: BigInt(Number.MAX_SAFE_INTEGER) });
const origin = fc.record({
  channel: text,
  partition: fc.nat(63),
  sequence: number,
  consumer: text,
  deliveries: fc.nat(100),
  reason: text,
});
const signal = fc.record({
  producerSequence: number,
  key: text,
  payload: fc.uint8Array({ maxLength: 20_000 }).map((bytes) => new Uint8Array(bytes)),
  contentType: text,
  traceparent: text,
  deadLetter: fc.option(origin, { nil: undefined }),
});

it("a record is the entry of a page that the general encoder makes", () => {
  fc.assert(
    fc.property(signal, (fields) => {
      const page = create(SignalPageSchema, { signals: [fields] });
      const record = encodeRecord(create(SignalSchema, fields));
      expect(Buffer.from(record).equals(toBinary(SignalPageSchema, page))).toBe(true);
    }),
  );
});
