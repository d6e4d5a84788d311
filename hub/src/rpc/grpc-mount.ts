// Serves implementations on a grpc-js server. A message is parsed only when its caller was let in: before that it is bytes,
// which cost what they weigh. One that cannot be parsed ends its own call with a clear status: grpc-js would otherwise
// answer with an internal error.
import { create, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Server,
  ServerDuplexStream,
  ServerWritableStream,
  ServiceDefinition,
  UntypedHandleCall,
} from "@grpc/grpc-js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { CallGuard } from "./call-guard.js";
import { CallInput } from "./call-input.js";
import { EncodedResponse } from "./encoded.js";
import { toFault, toGrpcError } from "./errors.js";
import type { Call, ImplementedService } from "./implementation.js";

type Response = Message | EncodedResponse;
type AnyCall = {
  readonly metadata: { get(key: string): readonly (string | Buffer)[] };
  readonly cancelled: boolean;
  on(event: "cancelled", listener: () => void): unknown;
};

/** One for all calls: each ends by this, and an error made anew would cost more than many a call. */
const callerGone = new Error("The caller is gone.");

class OpenCall implements Call {
  readonly principal: Principal;
  readonly #call: AnyCall;
  #signal: AbortSignal | undefined;

  constructor(principal: Principal, call: AnyCall) {
    this.principal = principal;
    this.#call = call;
  }

  /** Made when it is asked for: most methods do not, and it costs as much as decoding their request. */
  get signal(): AbortSignal {
    this.#signal ??= this.#observe();
    return this.#signal;
  }

  #observe(): AbortSignal {
    const controller = new AbortController();
    this.#call.on("cancelled", () => controller.abort(callerGone));
    if (this.#call.cancelled) controller.abort(callerGone);
    return controller.signal;
  }
}

type UnaryMethod = (request: Message, call: Call) => Promise<Record<string, unknown>>;
type StreamMethod = (
  request: unknown,
  call: Call,
) => AsyncIterable<Record<string, unknown> | EncodedResponse>;

export function mountGrpc(
  server: Server,
  services: readonly ImplementedService[],
  guard: CallGuard,
  onDefect: (error: unknown) => void,
): void {
  for (const { desc, methods } of services) {
    const definition: Record<string, ServiceDefinition[string]> = {};
    const handlers: Record<string, UntypedHandleCall> = {};
    for (const method of desc.methods) {
      definition[method.name] = define(method);
      handlers[method.name] = handlerOf(method, methods[method.localName], guard, onDefect);
    }
    server.addService(definition, handlers);
  }
}

function define(method: DescMethod): ServiceDefinition[string] {
  const serialize = (response: Response) =>
    asBuffer(response instanceof EncodedResponse ? response.bytes : toBinary(method.output, response));
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "bidi_streaming",
    responseStream: method.methodKind !== "unary",
    requestSerialize: (message: Message) => asBuffer(toBinary(method.input, message)),
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: serialize,
    responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}

/** The same bytes as a Buffer, without copying. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function handlerOf(
  method: DescMethod,
  implementation: unknown,
  guard: CallGuard,
  onDefect: (error: unknown) => void,
): UntypedHandleCall {
  const open = async (call: AnyCall): Promise<Call> => {
    const authorization = call.metadata.get("authorization")[0];
    const principal = await guard(method, typeof authorization === "string" ? authorization : null);
    return new OpenCall(principal, call);
  };
  if (method.methodKind === "unary") {
    const unary: handleUnaryCall<Buffer, Message> = (call, answer) => {
      open(call)
        .then((opened) => (implementation as UnaryMethod)(parse(method, call.request), opened))
        .then(
          (response) => answer(null, create(method.output, response)),
          (error: unknown) => answer(toGrpcError(toFault(error, onDefect))),
        );
    };
    return unary;
  }
  if (method.methodKind === "server_streaming") {
    const stream: handleServerStreamingCall<Buffer, Response> = (call) => {
      void pump(method, call, onDefect, async () => {
        const opened = await open(call);
        return (implementation as StreamMethod)(parse(method, call.request), opened);
      });
    };
    return stream;
  }
  const duplex: handleBidiStreamingCall<Buffer, Response> = (call) => {
    // What comes up before the call is let in waits.
    const input = new CallInput(
      call as ServerDuplexStream<Buffer, never>,
      (bytes) => parse(method, bytes),
      (error) => call.cancelled || statusesGiven.has(error as object),
    );
    void pump(method, call, onDefect, async () => (implementation as StreamMethod)(input, await open(call)));
  };
  return duplex;
}

/** @throws Fault INVALID_FIELD when the bytes are no such message */
function parse(method: DescMethod, bytes: Uint8Array): Message {
  try {
    return fromBinary(method.input, bytes);
  } catch (cause) {
    const message = `The request is not a valid ${method.input.typeName}.`;
    throw new Fault("INVALID_FIELD", message, { field: "(message)" }, { cause });
  }
}

/** Statuses that streams were ended with: grpc-js throws them at whoever still reads the call. */
const statusesGiven = new WeakSet<object>();

/** Writes what the method yields, waiting whenever the caller reads more slowly than we write. */
async function pump(
  method: DescMethod,
  call: ServerWritableStream<Buffer, Response> | ServerDuplexStream<Buffer, Response>,
  onDefect: (error: unknown) => void,
  start: () => Promise<AsyncIterable<Record<string, unknown> | EncodedResponse>>,
): Promise<void> {
  try {
    for await (const response of await start()) {
      if (call.cancelled) return;
      const isWritable = call.write(
        response instanceof EncodedResponse ? response : create(method.output, response),
      );
      if (!isWritable) await drained(call);
    }
    call.end();
  } catch (error) {
    if (call.cancelled) return;
    const status = toGrpcError(toFault(error, onDefect));
    statusesGiven.add(status);
    call.emit("error", status);
  }
}

function drained(
  call: ServerWritableStream<Buffer, Response> | ServerDuplexStream<Buffer, Response>,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("cancelled", done);
      call.off("close", done);
      resolve();
    };
    call.on("drain", done);
    call.on("cancelled", done);
    call.on("close", done);
    if (call.cancelled) done();
  });
}
