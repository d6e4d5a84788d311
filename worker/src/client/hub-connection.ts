import {
  create,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Client, type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import { callFailure } from "../grpc/call-failure.js";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { callMetadata, type HubAccess, openChannel } from "../grpc/hub-channel.js";
import { deserializer, methodPath, serializer } from "../grpc/method-codec.js";

/** Calls to whichever hub of the list answers: one that cannot be reached is left for the next by the call after. */
export class HubConnection {
  readonly #access: HubAccess;
  readonly #timeoutMs: number;
  #turn = 0;
  #client: Client | undefined;
  #isClosed = false;

  constructor(access: HubAccess, timeoutMs: number) {
    this.#access = access;
    this.#timeoutMs = timeoutMs;
  }

  /** One request, one answer. A failed call is not repeated here: only the caller knows whether that is safe. */
  unary<Method extends DescMethodUnary>(
    method: Method,
    request: MessageInitShape<Method["input"]>,
  ): Promise<MessageShape<Method["output"]>> {
    return new Promise((resolve, reject) => {
      this.#open().makeUnaryRequest(
        methodPath(method),
        serializer(method.input),
        deserializer(method.output),
        create(method.input, request),
        callMetadata(this.#access),
        { deadline: Date.now() + this.#timeoutMs },
        (error, response) => {
          if (error !== null) return reject(this.failed(error));
          resolve(response as MessageShape<Method["output"]>);
        },
      );
    });
  }

  /** A stream of answers, without a deadline. The caller has to read it to its end, or cancel it. */
  stream<Method extends DescMethodServerStreaming>(
    method: Method,
    request: MessageInitShape<Method["input"]>,
  ): ClientReadableStream<MessageShape<Method["output"]>> {
    const message: MessageShape<Method["input"]> = create<Method["input"]>(method.input, request);
    return this.#open().makeServerStreamRequest(
      methodPath(method),
      serializer<Method["input"]>(method.input),
      deserializer<Method["output"]>(method.output),
      message,
      callMetadata(this.#access),
    );
  }

  /** What a call's error means; turns to the next hub when this one could not be reached. */
  failed(error: ServiceError): HoldfastError {
    const failure = callFailure(error);
    if (failure.grpcCode === status.UNAVAILABLE && this.#access.addresses.length > 1) {
      this.#turn++;
      this.#client?.close();
      this.#client = undefined;
    }
    return new HoldfastError(failure, { cause: error });
  }

  #open(): Client {
    if (this.#isClosed) throw new Error("the client is closed");
    const { addresses } = this.#access;
    this.#client ??= openChannel(this.#access, addresses[this.#turn % addresses.length] as string);
    return this.#client;
  }

  close(): void {
    this.#isClosed = true;
    this.#client?.close();
    this.#client = undefined;
  }
}
