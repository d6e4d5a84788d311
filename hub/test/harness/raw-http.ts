import type { DescMethod } from "@bufbuild/protobuf";
import { type RawFailure, readErrorInfo } from "./raw-failure.js";

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
  const error = (await response.json()) as ConnectErrorBody;
  const detail = error.details?.find(({ type }) => type === "google.rpc.ErrorInfo");
  const info = readErrorInfo(Buffer.from(detail?.value ?? "", "base64"));
  return { code: codes.indexOf(error.code), message: error.message ?? "", ...info };
}
