import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** What a hub says about a refused call, beside the status: google.rpc.ErrorInfo of domain "holdfast". */
export interface ErrorInfo {
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export const ERROR_INFO_TYPE = "google.rpc.ErrorInfo";

// Decoded by hand: three fields do not justify generated code for google.rpc.
export function decodeErrorInfo(bytes: Uint8Array): ErrorInfo {
  const reader = new BinaryReader(bytes);
  let reason = "";
  let domain = "";
  const metadata: Record<string, string> = {};
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) {
      reason = reader.string();
    } else if (field === 2 && wireType === WireType.LengthDelimited) {
      domain = reader.string();
    } else if (field === 3 && wireType === WireType.LengthDelimited) {
      const [key, value] = decodeMapEntry(reader.bytes());
      metadata[key] = value;
    } else {
      reader.skip(wireType, field);
    }
  }
  return { reason, domain, metadata };
}

function decodeMapEntry(bytes: Uint8Array): [key: string, value: string] {
  const reader = new BinaryReader(bytes);
  let key = "";
  let value = "";
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) {
      key = reader.string();
    } else if (field === 2) {
      value = reader.string();
    } else {
      reader.skip(wireType, field);
    }
  }
  return [key, value];
}
