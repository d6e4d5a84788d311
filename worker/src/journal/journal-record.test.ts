import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeJournal,
  encodeRecord,
  encodeSession,
  encodeSettled,
  JournalFormatError,
  type JournalRecord,
  journalMagic,
} from "./journal-record.js";

const record: fc.Arbitrary<JournalRecord> = fc.oneof(
  fc.string({ maxLength: 40 }).map((sessionId) => ({ kind: "session" as const, sessionId })),
  fc.uint8Array({ maxLength: 60 }).map((report) => ({ kind: "results" as const, report })),
  fc
    .array(fc.nat(), { maxLength: 9 })
    .map((list) => ({ kind: "settled" as const, ordinals: new Uint32Array(list) })),
);

function encode(given: JournalRecord): Buffer {
  switch (given.kind) {
    case "session":
      return encodeSession(given.sessionId);
    case "results":
      return encodeRecord("results", [given.report.subarray(0, 5), given.report.subarray(5)]);
    case "settled":
      return encodeSettled([...given.ordinals]);
  }
}

const plain = (records: JournalRecord[]) =>
  records.map((given) => (given.kind === "results" ? { ...given, report: [...given.report] } : given));

test("a journal that is whole reads back as it was written", () => {
  fc.assert(
    fc.property(fc.array(record), (records) => {
      const bytes = Buffer.concat([journalMagic(), ...records.map(encode)]);
      const decoded = decodeJournal(bytes);
      expect(plain(decoded.records)).toEqual(plain(records));
      expect(decoded.intactBytes).toBe(bytes.length);
    }),
  );
});

test("wherever a journal is cut, the records before the cut are read and nothing else (D5)", () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 6 }), fc.nat(), (records, at) => {
      const encoded = records.map(encode);
      const bytes = Buffer.concat([journalMagic(), ...encoded]);
      const cut = at % (bytes.length + 1);
      let whole = 0;
      let end = journalMagic().length;
      while (whole < encoded.length && end + (encoded[whole] as Buffer).length <= cut) {
        end += (encoded[whole++] as Buffer).length;
      }
      const decoded = decodeJournal(bytes.subarray(0, cut));
      expect(plain(decoded.records)).toEqual(plain(records.slice(0, whole)));
      expect(decoded.intactBytes).toBe(cut < journalMagic().length ? 0 : end);
    }),
  );
});

test("a flipped bit ends the reading before its record", () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), fc.nat(), fc.nat(7), (records, at, bit) => {
      const bytes = Buffer.concat([journalMagic(), ...records.map(encode)]);
      const place = journalMagic().length + (at % (bytes.length - journalMagic().length));
      bytes[place] = (bytes[place] as number) ^ (1 << bit);
      const decoded = decodeJournal(bytes);
      expect(decoded.intactBytes).toBeLessThanOrEqual(place);
      expect(plain(decoded.records)).toEqual(plain(records.slice(0, decoded.records.length)));
    }),
  );
});

test("a file that does not begin as a journal is refused, not truncated", () => {
  expect(() => decodeJournal(Buffer.from("holdfast-journal 2\nand then something"))).toThrow(
    JournalFormatError,
  );
  expect(() => decodeJournal(Buffer.from("x"))).toThrow(JournalFormatError);
  expect(decodeJournal(Buffer.alloc(0)).records).toEqual([]);
});
