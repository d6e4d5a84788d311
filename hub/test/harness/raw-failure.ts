import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { Metadata, StatusObject } from "@grpc/grpc-js";

/** How a call failed, as its trailers say. */
export interface RawFailure {
  readonly code: number;
  readonly message: string;
  /** Of google.rpc.ErrorInfo; empty when the status carries none. */
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
}

interface ErrorInfo {
  reason: string;
  domain: string;
  metadata: Record<string, string>;
}

const detailsKey = "grpc-status-details-bin";
const errorInfoUrl = "type.googleapis.com/google.rpc.ErrorInfo";

export function readFailure(status: Pick<StatusObject, "code" | "details" | "metadata">): RawFailure {
  return { code: status.code, message: status.details, ...infoIn(status.metadata) };
}

function infoIn(trailers: Metadata): ErrorInfo {
  const details = trailers.get(detailsKey)[0];
  return Buffer.isBuffer(details) ? readStatus(details) : { reason: "", domain: "", metadata: {} };
}

/** google.rpc.Status { details = 3 }, of Any { type_url = 1, value = 2 }. */
function readStatus(bytes: Uint8Array): ErrorInfo {
  for (const detail of fieldsOf(bytes).get(3) ?? []) {
    const any = fieldsOf(detail);
    if (textOf(any, 1) === errorInfoUrl) return readErrorInfo(any.get(2)?.[0] ?? new Uint8Array());
  }
  return { reason: "", domain: "", metadata: {} };
}

/** google.rpc.ErrorInfo { reason = 1, domain = 2, map metadata = 3 } */
export function readErrorInfo(bytes: Uint8Array): ErrorInfo {
  const info = fieldsOf(bytes);
  const entries = (info.get(3) ?? []).map((entry) => {
    const pair = fieldsOf(entry);
    return [textOf(pair, 1), textOf(pair, 2)] as const;
  });
  return { reason: textOf(info, 1), domain: textOf(info, 2), metadata: Object.fromEntries(entries) };
}

/** The length-delimited fields of a message, by number. */
function fieldsOf(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, Uint8Array[]>();
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (wireType !== 2) {
      reader.skip(wireType, number);
      continue;
    }
    fields.set(number, [...(fields.get(number) ?? []), reader.bytes()]);
  }
  return fields;
}

function textOf(fields: Map<number, Uint8Array[]>, number: number): string {
  return new TextDecoder().decode(fields.get(number)?.[0]);
}
