import { putVarint, varintLength } from "./byte-writer.js";
import { WireCursor, WireError } from "./wire-cursor.js";

/**
 * Envelopes of the lease stream. Their bodies are encoded and decoded by whoever
 * knows them, so a body that is already bytes (a report out of the journal, a
 * batch of leases on its way to the handlers) is never taken apart on the way.
 */

/** Field number of each case of holdfast.v1.AttachRequest.message. */
export const requestField = {
  hello: 1,
  credit: 2,
  report: 3,
  checkpoint: 4,
  progress: 5,
  release: 6,
  heartbeat: 7,
  drain: 8,
  spend: 9,
  throttle: 14,
  effect: 12,
  wait: 13,
} as const;

/** Field number of each case of holdfast.v1.AttachResponse.message. */
export const responseField = {
  welcome: 1,
  leases: 2,
  verdicts: 3,
  checkpointSaved: 4,
  heartbeat: 5,
  revoke: 6,
  drain: 7,
  effectVerdict: 12,
  waitVerdict: 13,
} as const;

const responseFields: ReadonlySet<number> = new Set(Object.values(responseField));

/** Tag of AttachRequest.delivered_through: field 15, varint. */
const deliveredThroughTag = 0x78;

/** An AttachRequest whose case is `field` and whose body is `parts` joined. */
export function frameRequest(field: number, parts: readonly Uint8Array[], deliveredThrough: number): Buffer {
  let bodyLength = 0;
  for (const part of parts) bodyLength += part.length;
  const delivered = deliveredThrough > 0 ? 1 + varintLength(deliveredThrough) : 0;
  const frame = Buffer.allocUnsafe(1 + varintLength(bodyLength) + bodyLength + delivered);
  frame[0] = (field << 3) | 2;
  let pos = putVarint(frame, 1, bodyLength);
  for (const part of parts) {
    frame.set(part, pos);
    pos += part.length;
  }
  if (delivered > 0) {
    frame[pos++] = deliveredThroughTag;
    putVarint(frame, pos, deliveredThrough);
  }
  return frame;
}

/** Which case an AttachResponse holds, and where its body lies. */
export function openResponse(bytes: Buffer): { field: number; start: number; end: number } {
  const cursor = new WireCursor(bytes, 0, bytes.length);
  let found: { field: number; start: number; end: number } | undefined;
  while (cursor.pos < cursor.end) {
    const tag = cursor.varint();
    const field = tag >>> 3;
    if ((tag & 7) === 2 && responseFields.has(field)) {
      const end = cursor.enter();
      found = { field, start: cursor.pos, end };
      cursor.pos = end;
    } else {
      cursor.skip(tag);
    }
  }
  if (found === undefined) throw new WireError("a message of the hub has none of the known cases");
  return found;
}
