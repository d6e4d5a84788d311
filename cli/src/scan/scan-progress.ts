import { createHash } from "node:crypto";
import { FILE_DIGEST_BYTES } from "./digest.js";

// What a scan has reached, as a checkpoint: the digest of the list of files (so that a package that changed
// meanwhile is begun anew), the bytes read so far, and the digests of the files done, one after the other.

const LISTING_BYTES = 64;
const COUNT_BYTES = 8;
const HEADER_BYTES = LISTING_BYTES + COUNT_BYTES;

/** Keeps the state under the hub's 1 MiB: a package of more files is checkpointed up to this one, and no further. */
export const CHECKPOINT_FILES_MAX = 16_000;

export interface ScanProgress {
  /** Bytes read so far. */
  bytes: number;
  readonly digests: Uint8Array[];
}

export function encodeProgress(files: readonly string[], { bytes, digests }: ScanProgress): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  listingDigest(files).copy(header);
  header.writeBigUInt64BE(BigInt(bytes), LISTING_BYTES);
  return Buffer.concat([header, ...digests]);
}

/** Where the previous attempt got to; the beginning when there was none, or it saw other files. */
export function decodeProgress(files: readonly string[], state: Uint8Array | undefined): ScanProgress {
  const buffer = Buffer.from(state ?? []);
  const filesDone = (buffer.byteLength - HEADER_BYTES) / FILE_DIGEST_BYTES;
  const isOurs =
    Number.isInteger(filesDone) &&
    filesDone >= 0 &&
    filesDone <= files.length &&
    buffer.subarray(0, LISTING_BYTES).equals(listingDigest(files));
  if (!isOurs) {
    return { bytes: 0, digests: [] };
  }
  const digests = Array.from({ length: filesDone }, (_, index) => {
    const start = HEADER_BYTES + index * FILE_DIGEST_BYTES;
    return buffer.subarray(start, start + FILE_DIGEST_BYTES);
  });
  return { bytes: Number(buffer.readBigUInt64BE(LISTING_BYTES)), digests };
}

function listingDigest(files: readonly string[]): Buffer {
  return createHash("sha512").update(files.join("\n")).digest();
}
