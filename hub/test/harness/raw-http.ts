import type { DescMethod } from "@bufbuild/protobuf";
import { Metadata } from "@grpc/grpc-js";
import { type RawFailure, readErrorInfo, readFailure } from "./raw-failure.js";

/** Codes of the Connect protocol by their gRPC number. */
const codes = [
  ...["ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists"],
  ...["permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range"],
  ...["unimplemented", "internal", "unavailable", "data_loss", "unauthenticated"],
];

interface ConnectErrorBody {
  readonly code: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

/** A unary call by the Connect protocol with a body of protobuf bytes or JSON; what it failed with, or its body. */
export async function callHttp(
  address: string,
  method: DescMethod,
  body: Uint8Array | object,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawFailure | { readonly body: Uint8Array }> {
  const isJson = !(body instanceof Uint8Array);
  const response = await fetch(`http://${address}/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: { "content-type": isJson ? "application/json" : "application/proto", ...headers },
    body: isJson ? JSON.stringify(body) : Buffer.from(body),
  });
  if (response.ok) return { body: new Uint8Array(await response.arrayBuffer()) };
  return readConnectError((await response.json()) as ConnectErrorBody);
}

/** A call whose messages are enveloped, over HTTP/1.1; what it failed with, as its last envelope says. */
export async function callEnveloped(
  address: string,
  method: DescMethod,
  format: "connect+proto" | "grpc-web+proto",
  message: Uint8Array,
): Promise<RawFailure> {
  const head = Buffer.alloc(envelopeHeadBytes);
  head.writeUInt32BE(message.length, 1);
  const response = await fetch(`http://${address}/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: { "content-type": `application/${format}` },
    body: Buffer.concat([head, message]),
  });
  const last = lastEnvelope(Buffer.from(await response.arrayBuffer()));
  if (format === "grpc-web+proto") return readWebTrailer(last.toString());
  const { error } = JSON.parse(last.toString()) as { error?: ConnectErrorBody };
  return readConnectError(error ?? { code: "ok" });
}

const envelopeHeadBytes = 5;

function lastEnvelope(body: Buffer): Buffer {
  let at = 0;
  for (;;) {
    const end = at + envelopeHeadBytes + body.readUInt32BE(at + 1);
    if (end >= body.length) return body.subarray(at + envelopeHeadBytes, end);
    at = end;
  }
}

function readWebTrailer(text: string): RawFailure {
  const trailer = new Headers(
    text
      .trim()
      .split("\r\n")
      .map((line) => line.split(/: ?/, 2) as [string, string]),
  );
  const metadata = new Metadata();
  const details = trailer.get("grpc-status-details-bin");
  if (details) metadata.set("grpc-status-details-bin", Buffer.from(details, "base64"));
  const message = decodeURIComponent(trailer.get("grpc-message") ?? "");
  return readFailure({ code: Number(trailer.get("grpc-status")), details: message, metadata });
}

function readConnectError(error: ConnectErrorBody): RawFailure {
  const detail = error.details?.find(({ type }) => type === "google.rpc.ErrorInfo");
  const info = readErrorInfo(Buffer.from(detail?.value ?? "", "base64"));
  return { code: codes.indexOf(error.code), message: error.message ?? "", ...info };
}
