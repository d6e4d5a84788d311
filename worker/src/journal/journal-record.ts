import { crc32 } from "node:zlib";

/**
 * The journal's file format. A file is a magic line and then records:
 *
 *     length u32 · crc32 u32 · kind u8 · payload        (little endian)
 *
 * where `length` counts kind and payload, and the checksum covers both. Results
 * are numbered by their place in the file, from 0; a settled record names those
 * numbers. Reading ends at the first record that is not whole and intact: whatever
 * was being written when the power went was not fsynced, so nobody has been told
 * of it yet.
 */
export type JournalRecord =
  /** Which session the results belong to; empty: none. The newest one counts. */
  | { readonly kind: "session"; readonly sessionId: string }
  /** The bytes of a holdfast.v1.Report: one or more results. */
  | { readonly kind: "results"; readonly report: Uint8Array }
  /** Results whose verdict came. */
  | { readonly kind: "settled"; readonly ordinals: Uint32Array };

const magic = Buffer.from("holdfast-journal 1\n", "latin1");
const headerBytes = 9;
const kindByte = { session: 1, results: 2, settled: 3 } as const;

/** A file that is no journal of this version: not ours to truncate. */
export class JournalFormatError extends Error {
  override readonly name = "JournalFormatError";
}

/** Start of every journal file. */
export function journalMagic(): Uint8Array {
  return magic;
}

/** The bytes of one record; its payload may be given in parts. */
export function encodeRecord(kind: JournalRecord["kind"], payload: readonly Uint8Array[]): Buffer {
  let payloadBytes = 0;
  for (const part of payload) payloadBytes += part.length;
  const record = Buffer.allocUnsafe(headerBytes + payloadBytes);
  record.writeUInt32LE(payloadBytes + 1, 0);
  record[8] = kindByte[kind];
  let pos = headerBytes;
  for (const part of payload) {
    record.set(part, pos);
    pos += part.length;
  }
  record.writeUInt32LE(crc32(record.subarray(8)), 4);
  return record;
}

export function encodeSession(sessionId: string): Buffer {
  return encodeRecord("session", [Buffer.from(sessionId, "utf8")]);
}

export function encodeSettled(ordinals: readonly number[]): Buffer {
  const payload = Buffer.allocUnsafe(ordinals.length * 4);
  ordinals.forEach((ordinal, i) => {
    payload.writeUInt32LE(ordinal, i * 4);
  });
  return encodeRecord("settled", [payload]);
}

/** Every intact record, and how many bytes from the start of the file they make up. */
export function decodeJournal(bytes: Buffer): { records: JournalRecord[]; intactBytes: number } {
  if (bytes.length < magic.length && magic.subarray(0, bytes.length).equals(bytes)) {
    return { records: [], intactBytes: 0 };
  }
  if (!bytes.subarray(0, magic.length).equals(magic)) {
    throw new JournalFormatError("the file does not begin as a Holdfast journal of version 1 does");
  }
  const records: JournalRecord[] = [];
  let pos = magic.length;
  for (;;) {
    const record = decodeRecord(bytes, pos);
    if (record === undefined) return { records, intactBytes: pos };
    records.push(record.value);
    pos = record.end;
  }
}

function decodeRecord(bytes: Buffer, start: number): { value: JournalRecord; end: number } | undefined {
  if (bytes.length < start + headerBytes) return undefined;
  const length = bytes.readUInt32LE(start);
  const end = start + 8 + length;
  if (length < 1 || end > bytes.length) return undefined;
  if (crc32(bytes.subarray(start + 8, end)) !== bytes.readUInt32LE(start + 4)) return undefined;
  const payload = bytes.subarray(start + headerBytes, end);
  switch (bytes[start + 8]) {
    case kindByte.session:
      return { value: { kind: "session", sessionId: payload.toString("utf8") }, end };
    case kindByte.results:
      return { value: { kind: "results", report: payload }, end };
    case kindByte.settled: {
      const ordinals = new Uint32Array(payload.length >>> 2);
      for (let i = 0; i < ordinals.length; i++) ordinals[i] = payload.readUInt32LE(i * 4);
      return { value: { kind: "settled", ordinals }, end };
    }
    default:
      return undefined;
  }
}
