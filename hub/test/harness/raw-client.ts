// A client of generated messages and nothing else: no SDK between a test and the hub, so that none can hide what
// the hub does wrong. Everything that is sent can also be sent as bytes.
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { WorkerService } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { openRawDuplex, type RawDuplex } from "./raw-duplex.js";
import { type RawFailure, readFailure } from "./raw-failure.js";
import { openRawStream, type RawStream } from "./raw-stream.js";

export interface RawClientOptions {
  readonly apiKey?: string;
  /** PEM of the certificate to trust; plain text without. */
  readonly ca?: Buffer;
}

export interface RawClient {
  /** The response; rejects with a RawFailure. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>>;
  /** The failure of a call that must not succeed. */
  refused<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O> | DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): Promise<RawFailure>;
  /** The same for bytes that need not be a message. */
  refusedBytes(method: DescMethod, request: Uint8Array): Promise<RawFailure>;
  serverStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): RawServerStream<MessageShape<O>>;
  attach(): RawStream;
  duplex<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
  ): RawDuplex<I, O>;
  /** Cancels its worker streams, too. */
  close(): void;
}

export interface RawServerStream<Message> extends AsyncIterable<Message> {
  cancel(): void;
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes);
const deadlineMs = 10_000;

export function openRawClient(address: string, options: RawClientOptions = {}): RawClient {
  const secure = options.ca ? credentials.createSsl(options.ca) : credentials.createInsecure();
  const streams: RawStream[] = [];
  const client = new Client(address, secure, {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
  });
  const metadata = () => {
    const sent = new Metadata();
    if (options.apiKey !== undefined) sent.set("authorization", `Bearer ${options.apiKey}`);
    return sent;
  };

  const unary = (method: DescMethod, request: Uint8Array) =>
    new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(
        pathOf(method),
        asBuffer,
        (bytes: Buffer) => bytes,
        request,
        metadata(),
        { deadline: Date.now() + deadlineMs },
        (error: ServiceError | null, response?: Buffer) =>
          error ? reject(readFailure(error)) : resolve(response ?? Buffer.alloc(0)),
      );
    });
  const stream = (method: DescMethod, request: Uint8Array): ClientReadableStream<Buffer> =>
    client.makeServerStreamRequest(
      pathOf(method),
      asBuffer,
      (bytes: Buffer) => bytes,
      request,
      metadata(),
      {},
    );

  const refusedBytes = async (method: DescMethod, request: Uint8Array): Promise<RawFailure> => {
    const failed = (error: unknown) => error as RawFailure;
    if (method.methodKind === "unary") {
      const failure = await unary(method, request).then(() => null, failed);
      if (failure) return failure;
    } else {
      try {
        for await (const _ of stream(method, request)) break;
      } catch (error) {
        return readFailure(error as ServiceError);
      }
    }
    throw new Error(`${method.name} was accepted`);
  };

  return {
    async call(method, request) {
      const response = await unary(method, toBinary(method.input, create(method.input, request)));
      return fromBinary(method.output, response);
    },
    refused: (method, request) => refusedBytes(method, toBinary(method.input, create(method.input, request))),
    refusedBytes,
    serverStream(method, request) {
      const call = stream(method, toBinary(method.input, create(method.input, request)));
      return {
        cancel: () => call.cancel(),
        async *[Symbol.asyncIterator]() {
          try {
            for await (const bytes of call) yield fromBinary(method.output, bytes as Buffer);
          } catch (error) {
            throw readFailure(error as ServiceError);
          }
        },
      };
    },
    attach: () => {
      const stream = openRawStream(
        client.makeBidiStreamRequest(
          pathOf(WorkerService.method.attach),
          asBuffer,
          (bytes: Buffer) => bytes,
          metadata(),
          {},
        ),
      );
      streams.push(stream);
      return stream;
    },
    duplex: (method) =>
      openRawDuplex(
        client.makeBidiStreamRequest(pathOf(method), asBuffer, (bytes: Buffer) => bytes, metadata(), {}),
        method.input,
        method.output,
      ),
    close: () => {
      for (const stream of streams) stream.cancel();
      client.close();
    },
  };
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
