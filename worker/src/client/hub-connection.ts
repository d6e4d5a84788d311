import {
  create,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { callFailure } from "../grpc/call-failure.js";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { callMetadata, type HubAccess, openChannel } from "../grpc/hub-channel.js";
import { deserializer, methodPath, serializer } from "../grpc/method-codec.js";
import { asBuffer } from "../wire/wire-cursor.js";

/**
 * Whether a call may be made again at another hub when nobody knows what became of it: "always" when making it twice
 * is the same as making it once. A hub that answers HUB_STOPPING has done nothing, so that call may always be.
 */
export type Repeat = "always" | "if refused";

/** Somebody who opens streams again when they are lost, and has to end with the connection. */
export type ConnectionUser = { connectionClosed(): void };

/**
 * Calls to whichever hub of the list answers: one that cannot be reached, or is stopping, is left for the next.
 *
 * Closing ends whoever joined, then the calls that are under way: the channel itself would let those go on.
 */
export class HubConnection {
  readonly #access: HubAccess;
  readonly #timeoutMs: number;
  #turn = 0;
  #client: Client | undefined;
  #isClosed = false;
  readonly #users = new Set<ConnectionUser>();
  readonly #underWay = new Set<{ cancel(): void }>();

  constructor(access: HubAccess, timeoutMs: number) {
    this.#access = access;
    this.#timeoutMs = timeoutMs;
  }

  get hubs(): number {
    return this.#access.addresses.length;
  }

  /** One request, one answer, within the time of one call however many hubs are asked. */
  async unary<Method extends DescMethodUnary>(
    method: Method,
    request: MessageInitShape<Method["input"]>,
    repeat: Repeat,
  ): Promise<MessageShape<Method["output"]>> {
    const message: MessageShape<Method["input"]> = create<Method["input"]>(method.input, request);
    const deadline = Date.now() + this.#timeoutMs;
    for (let asked = 1; ; asked++) {
      try {
        return await this.#ask(method, message, deadline);
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.grpcCode !== status.UNAVAILABLE) throw error;
        const isSafe = repeat === "always" || error.reason === "HUB_STOPPING";
        if (!isSafe || asked >= this.hubs || Date.now() >= deadline) throw error;
      }
    }
  }

  #ask<Method extends DescMethodUnary>(
    method: Method,
    message: MessageShape<Method["input"]>,
    deadline: number,
  ): Promise<MessageShape<Method["output"]>> {
    return new Promise((resolve, reject) => {
      const client = this.#open();
      const call = client.makeUnaryRequest(
        methodPath(method),
        serializer<Method["input"]>(method.input),
        deserializer<Method["output"]>(method.output),
        message,
        callMetadata(this.#access),
        { deadline },
        (error, response) => {
          if (error !== null) return reject(this.#failed(error, client));
          resolve(response as MessageShape<Method["output"]>);
        },
      );
      this.#watchOver(call);
    });
  }

  /**
   * A stream of answers, without a deadline. The caller has to read it to its end, or cancel it, and to ask `failed`
   * what its error means.
   */
  stream<Method extends DescMethodServerStreaming>(
    method: Method,
    request: MessageInitShape<Method["input"]>,
  ): {
    readonly call: ClientReadableStream<MessageShape<Method["output"]>>;
    readonly failed: (error: ServiceError) => HoldfastError;
  } {
    const message: MessageShape<Method["input"]> = create<Method["input"]>(method.input, request);
    const client = this.#open();
    const call = client.makeServerStreamRequest(
      methodPath(method),
      serializer<Method["input"]>(method.input),
      deserializer<Method["output"]>(method.output),
      message,
      callMetadata(this.#access),
    );
    this.#watchOver(call);
    return { call, failed: (error) => this.#failed(error, client) };
  }

  /** Messages both ways, encoded, without a deadline; the caller's part is that of `stream`. */
  duplex(method: DescMethodBiDiStreaming): {
    readonly call: ClientDuplexStream<Uint8Array, Buffer>;
    readonly failed: (error: ServiceError) => HoldfastError;
  } {
    const client = this.#open();
    const call = client.makeBidiStreamRequest(
      methodPath(method),
      asBuffer,
      (bytes: Buffer) => bytes,
      callMetadata(this.#access),
    );
    this.#watchOver(call);
    return { call, failed: (error) => this.#failed(error, client) };
  }

  /** What a call's error means; turns to the next hub when that was not done since the call was made. */
  #failed(error: ServiceError, client: Client): HoldfastError {
    const failure = callFailure(error);
    if (failure.grpcCode === status.UNAVAILABLE && this.hubs > 1 && this.#client === client) {
      this.#turn++;
      client.close();
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

  #watchOver(
    call: ClientUnaryCall | ClientReadableStream<unknown> | ClientDuplexStream<Uint8Array, Buffer>,
  ): void {
    this.#underWay.add(call);
    call.on("status", () => this.#underWay.delete(call));
  }

  join(user: ConnectionUser): void {
    this.#users.add(user);
  }

  leave(user: ConnectionUser): void {
    this.#users.delete(user);
  }

  close(): void {
    this.#isClosed = true;
    for (const user of [...this.#users]) user.connectionClosed();
    for (const call of [...this.#underWay]) call.cancel();
    this.#client?.close();
    this.#client = undefined;
  }
}
