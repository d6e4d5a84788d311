import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type Metadata, status } from "@grpc/grpc-js";
import { timerMsMax } from "../timer-limit.js";
import type { CallFailure } from "./holdfast-error.js";

/** The part of a grpc-js ServiceError that is read here. */
export type FailedStatus = { code: number; details: string; metadata?: Metadata | undefined };

const errorInfoType = "type.googleapis.com/google.rpc.ErrorInfo";
const domain = "holdfast";

/**
 * What a failed call means: the google.rpc.ErrorInfo of domain "holdfast" in its
 * status details, or the bare status when no hub gave one. Details that cannot be
 * read are no details; a broken trailer must not hide the status itself.
 */
export function callFailure(failed: FailedStatus): CallFailure {
  const statusName = status[failed.code] ?? "UNKNOWN";
  // The transport ends some messages with a note that it does not have.
  const message = failed.details.replace(/\.? Resolution note: $/, "") || statusName;
  const bare = { reason: statusName, message, metadata: {}, grpcCode: failed.code, retryAfterMs: undefined };
  const details = failed.metadata?.get("grpc-status-details-bin")[0];
  if (!(details instanceof Uint8Array)) return bare;
  try {
    const errorInfo = readStatus(details);
    if (errorInfo === undefined) return bare;
    const { reason, metadata } = errorInfo;
    return { ...bare, reason, metadata, retryAfterMs: durationTextMs(metadata.retry_after) };
  } catch {
    return bare;
  }
}

/** A duration as ErrorInfo metadata writes it: seconds with an "s", such as "0.5s". */
function durationTextMs(text: string | undefined): number | undefined {
  const seconds = /^(\d+(?:\.\d+)?)s$/.exec(text ?? "")?.[1];
  return seconds === undefined ? undefined : Math.min(Number(seconds) * 1000, timerMsMax);
}

type ErrorInfo = { reason: string; domain: string; metadata: Record<string, string> };

/** Reads google.rpc.Status { code = 1; message = 2; repeated google.protobuf.Any details = 3 }. */
function readStatus(bytes: Uint8Array): ErrorInfo | undefined {
  let found: ErrorInfo | undefined;
  eachField(bytes, (field, reader) => {
    if (field !== 3) return false;
    const detail = readAny(reader.bytes());
    if (detail.typeUrl !== errorInfoType) return true;
    const errorInfo = readErrorInfo(detail.value);
    if (errorInfo.domain === domain) found = errorInfo;
    return true;
  });
  return found;
}

/** Any { type_url = 1; value = 2 }. */
function readAny(bytes: Uint8Array): { typeUrl: string; value: Uint8Array } {
  const any = { typeUrl: "", value: new Uint8Array() };
  eachField(bytes, (field, reader) => {
    if (field === 1) any.typeUrl = reader.string();
    else if (field === 2) any.value = new Uint8Array(reader.bytes());
    else return false;
    return true;
  });
  return any;
}

/** ErrorInfo { reason = 1; domain = 2; map<string, string> metadata = 3 }. */
function readErrorInfo(bytes: Uint8Array): ErrorInfo {
  const errorInfo: ErrorInfo = { reason: "", domain: "", metadata: {} };
  eachField(bytes, (field, reader) => {
    if (field === 1) errorInfo.reason = reader.string();
    else if (field === 2) errorInfo.domain = reader.string();
    else if (field === 3) {
      let key = "";
      let value = "";
      eachField(reader.bytes(), (entryField, entry) => {
        if (entryField === 1) key = entry.string();
        else if (entryField === 2) value = entry.string();
        else return false;
        return true;
      });
      errorInfo.metadata[key] = value;
    } else return false;
    return true;
  });
  return errorInfo;
}

/** Calls `read` for each field; what it leaves unread (returns false) is skipped. */
function eachField(bytes: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const isRead = wireType !== WireType.EndGroup && read(field, reader);
    if (!isRead) reader.skip(wireType, field);
  }
}
