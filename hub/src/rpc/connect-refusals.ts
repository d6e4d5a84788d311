// The Connect library refuses what is no message, in four wire formats, before a method is reached: with a status,
// but without the ErrorInfo that every other failure carries. Such an answer is completed here, on its way out.
//
// A refusal is the first and only thing in its answer: a method that was not reached has said nothing yet. So it is
// in the trailers, the whole body, or the first envelope, and only there it is looked for.
import { Code, ConnectError, createContextKey, createContextValues } from "@connectrpc/connect";
import {
  encodeEnvelope,
  type UniversalHandler,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  createEndStreamSerialization,
  endStreamFlag,
  endStreamFromJson,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { Fault } from "../domain/fault.js";
import { withHandle } from "./connect-handler.js";
import { toConnectError } from "./errors.js";
import { messageBytesMax } from "./limits.js";

/** Set on a call's context once its method is reached: what happens from then on is not the library's to refuse. */
export const isReached = createContextKey(false);

const envelopeHeadBytes = 5;
const endStream = createEndStreamSerialization(undefined);

/** What a caller is told whose message could not be read; null for statuses that are not about the message. */
export function faultOf(error: ConnectError): Fault | null {
  switch (error.code) {
    // The library calls bytes that are no message an internal error.
    case Code.Internal:
    case Code.InvalidArgument:
      return new Fault("INVALID_FIELD", error.rawMessage, { field: "(message)" }, { cause: error });
    case Code.ResourceExhausted:
      return new Fault(
        "PAYLOAD_TOO_LARGE",
        error.rawMessage,
        { field: "(message)", limit: "messageBytesMax", value: String(messageBytesMax) },
        { cause: error },
      );
    default:
      return null;
  }
}

/** The same handler, with ErrorInfo in what it refuses by itself. */
export function explainRefusals(handler: UniversalHandler): UniversalHandler {
  return withHandle(handler, async (request) => {
    const contextValues = request.contextValues ?? createContextValues();
    const response = await handler({ ...request, contextValues });
    return contextValues.get(isReached) ? response : complete(response);
  });
}

function explain(error: ConnectError): ConnectError {
  const fault = faultOf(error);
  return fault ? toConnectError(fault) : error;
}

async function complete(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const contentType = response.header?.get("content-type") ?? "";
  if (response.trailer) completeTrailer(response.trailer);
  else if (contentType.startsWith("application/connect+"))
    return { ...response, body: completeFirst(response.body, endStreamFlag, completeEndStream) };
  else if (contentType.startsWith("application/grpc-web"))
    return { ...response, body: completeFirst(response.body, trailerFlag, completeWebTrailer) };
  else if (response.status >= 400 && contentType === "application/json") return await completeUnary(response);
  return response;
}

function completeTrailer(trailer: Headers): void {
  const error = findTrailerError(trailer);
  if (error) setTrailerStatus(trailer, explain(error));
}

function completeWebTrailer(bytes: Uint8Array): Uint8Array {
  const trailer = trailerParse(bytes);
  completeTrailer(trailer);
  return trailerSerialize(trailer);
}

function completeEndStream(bytes: Uint8Array): Uint8Array {
  const { metadata, error } = endStreamFromJson(bytes);
  return endStream.serialize(error ? { metadata, error: explain(error) } : { metadata });
}

async function completeUnary(response: UniversalServerResponse): Promise<UniversalServerResponse> {
  const body = Buffer.concat(await chunksOf(response.body));
  const unreadable = new ConnectError("The request was refused.", Code.InvalidArgument);
  const error = explain(errorFromJsonBytes(body, undefined, unreadable));
  const bytes = errorToJsonBytes(error, undefined);
  const header = new Headers(response.header);
  header.set("content-length", String(bytes.byteLength));
  return { status: codeToHttpStatus(error.code), header, body: oneChunk(bytes) };
}

/** Rewrites the first envelope if it is the one that ends the answer and is not compressed. */
async function* completeFirst(
  body: AsyncIterable<Uint8Array> | undefined,
  flag: number,
  rewrite: (bytes: Uint8Array) => Uint8Array,
): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for await (const envelope of body ?? []) {
    const isEnd = isFirst && envelope[0] === flag;
    isFirst = false;
    yield isEnd ? encodeEnvelope(flag, rewrite(envelope.subarray(envelopeHeadBytes))) : envelope;
  }
}

async function chunksOf(body: AsyncIterable<Uint8Array> | undefined): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return chunks;
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
