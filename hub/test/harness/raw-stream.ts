import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { ClientDuplexStream, StatusObject } from "@grpc/grpc-js";
import {
  AttachRequestSchema,
  type AttachResponse,
  AttachResponseSchema,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { type RawFailure, readFailure } from "./raw-failure.js";

type Down = AttachResponse["message"];
export type DownCase = NonNullable<Down["case"]>;
export type DownValue<Case extends DownCase> = Extract<Down, { case: Case }>["value"];
export type UpMessage = NonNullable<MessageInitShape<typeof AttachRequestSchema>["message"]>;

/** One lease stream, message by message. */
export interface RawStream {
  /** Everything that came down, in order. */
  readonly received: readonly AttachResponse[];
  send(message: UpMessage, deliveredThrough?: bigint): void;
  sendBytes(bytes: Uint8Array): void;
  /** The first message of this case that no `next` had before; waits for it. */
  next<Case extends DownCase>(
    name: Case,
    isWanted?: (value: DownValue<Case>) => boolean,
  ): Promise<DownValue<Case>>;
  /** How it ended: null in good order. */
  readonly ended: Promise<RawFailure | null>;
  /** Calls back for each message that comes down. */
  onMessage(listener: (message: Down) => void): void;
  halfClose(): void;
  cancel(): void;
  /** Stops reading: what the hub sends piles up at the hub. */
  pause(): void;
  resume(): void;
}

const waitMs = 25_000;

export function openRawStream(call: ClientDuplexStream<Uint8Array, Buffer>): RawStream {
  const received: AttachResponse[] = [];
  const used = new Set<AttachResponse>();
  const listeners: ((message: Down) => void)[] = [];
  const waiting = new Set<() => void>();
  let end: { readonly failure: RawFailure | null } | undefined;
  const ended = new Promise<RawFailure | null>((resolve) => {
    call.on("status", (status: StatusObject) => {
      end = { failure: status.code === 0 ? null : readFailure(status) };
      resolve(end.failure);
      for (const look of waiting) look();
    });
  });
  call.on("error", () => undefined);
  call.on("data", (bytes: Buffer) => {
    const message = fromBinary(AttachResponseSchema, bytes);
    received.push(message);
    for (const listener of listeners) listener(message.message);
    for (const look of [...waiting]) look();
  });

  return {
    received,
    ended,
    send: (message, deliveredThrough = 0n) =>
      void call.write(
        toBinary(AttachRequestSchema, create(AttachRequestSchema, { message, deliveredThrough })),
      ),
    sendBytes: (bytes) => void call.write(bytes),
    next<Case extends DownCase>(name: Case, isWanted: (value: DownValue<Case>) => boolean = () => true) {
      return new Promise<DownValue<Case>>((resolve, reject) => {
        const late = setTimeout(() => {
          waiting.delete(look);
          const cases = received.map(({ message }) => message.case).join(", ");
          reject(new Error(`no such ${name} within ${waitMs} ms; received: ${cases}`));
        }, waitMs);
        const look = () => {
          for (const one of received) {
            if (used.has(one) || one.message.case !== name) continue;
            const value = one.message.value as DownValue<Case>;
            if (!isWanted(value)) continue;
            used.add(one);
            clearTimeout(late);
            waiting.delete(look);
            return (resolve as (value: DownValue<Case>) => void)(value);
          }
          if (!end) return;
          clearTimeout(late);
          waiting.delete(look);
          reject(new Error(`the stream ended before a ${name}: ${JSON.stringify(end.failure)}`));
        };
        waiting.add(look);
        look();
      });
    },
    onMessage: (listener) => listeners.push(listener),
    halfClose: () => call.end(),
    cancel: () => call.cancel(),
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
}
