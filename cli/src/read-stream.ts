import type { Readable } from "node:stream";
import { usageError } from "./cli-error.js";

/** Far above any payload limit of a hub; it only keeps an endless stream out of memory. */
const STREAM_BYTES_MAX = 64 * 1024 * 1024;

/** Reads a stream to its end; a longer one than the bound is refused. */
export async function readAll(stream: Readable): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const buffer = Buffer.from(chunk as Uint8Array | string);
    bytes += buffer.byteLength;
    if (bytes > STREAM_BYTES_MAX) {
      throw usageError(`The input is longer than ${STREAM_BYTES_MAX} bytes.`);
    }
    chunks.push(buffer);
  }
  return Buffer.concat(chunks);
}
