import type { Ref } from "../domain/lane.js";

// One message: version (1 byte), lane (4), then 38 bytes per ref: job id 16, place 8, ready since 8, attempt 2, bytes 4.
const version = 1;
const headBytes = 5;
const refBytes = 38;

/** Refs of one lane as a message; about a quarter of their JSON. */
export function encodeRefs(laneId: number, refs: readonly Ref[]): Buffer {
  const message = Buffer.allocUnsafe(headBytes + refs.length * refBytes);
  message.writeUInt8(version, 0);
  message.writeUInt32BE(laneId, 1);
  let at = headBytes;
  for (const ref of refs) {
    message.write(ref.jobId.replaceAll("-", ""), at, 16, "hex");
    message.writeDoubleBE(ref.readyKey, at + 16);
    message.writeDoubleBE(ref.readyAtMs, at + 24);
    message.writeUInt16BE(ref.attempt, at + 32);
    message.writeUInt32BE(ref.bytes, at + 34);
    at += refBytes;
  }
  return message;
}

/** Answers null for what `encodeRefs` of this version did not write. */
export function decodeRefs(payload: Uint8Array): Ref[] | null {
  const message = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (message.length < headBytes || message.readUInt8(0) !== version) return null;
  if ((message.length - headBytes) % refBytes !== 0) return null;
  const laneId = message.readUInt32BE(1);
  const refs: Ref[] = [];
  for (let at = headBytes; at < message.length; at += refBytes) {
    const hex = message.toString("hex", at, at + 16);
    refs.push({
      jobId: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
      laneId,
      readyKey: message.readDoubleBE(at + 16),
      readyAtMs: message.readDoubleBE(at + 24),
      attempt: message.readUInt16BE(at + 32),
      bytes: message.readUInt32BE(at + 34),
    });
  }
  return refs;
}
