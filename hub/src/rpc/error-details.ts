// google.rpc.Status with a google.rpc.ErrorInfo in it, written by hand: six fields, and no generated code that
// would clash with the googleapis packages that clients in other languages bring along.
// https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Fault } from "../domain/fault.js";

export const errorInfoType = "google.rpc.ErrorInfo";
export const errorDomain = "holdfast";

/** What ErrorInfo.metadata says: the fault's own, and how long to wait. */
export function errorMetadata(fault: Fault): Record<string, string> {
  return fault.retryAfterMs === undefined
    ? { ...fault.metadata }
    : { ...fault.metadata, retry_after: `${fault.retryAfterMs / 1000}s` };
}

/** google.rpc.ErrorInfo { reason = 1; domain = 2; map<string, string> metadata = 3 } */
export function encodeErrorInfo(fault: Fault): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(fault.reason);
  writer.tag(2, WireType.LengthDelimited).string(errorDomain);
  for (const [key, value] of Object.entries(errorMetadata(fault))) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value);
    writer.join();
  }
  return writer.finish();
}

/** google.rpc.Status { code = 1; message = 2; repeated Any details = 3 }, as the grpc-status-details-bin trailer. */
export function encodeStatus(code: number, fault: Fault): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int32(code);
  writer.tag(2, WireType.LengthDelimited).string(fault.message);
  writer.tag(3, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(`type.googleapis.com/${errorInfoType}`);
  writer.tag(2, WireType.LengthDelimited).bytes(encodeErrorInfo(fault));
  writer.join();
  return Buffer.from(writer.finish());
}
