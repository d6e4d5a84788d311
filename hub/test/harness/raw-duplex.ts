import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { ClientDuplexStream, StatusObject } from "@grpc/grpc-js";
import { type RawFailure, readFailure } from "./raw-failure.js";

type OneOf<Message> = Message extends { message: infer Down } ? Down : never;
export type CaseOf<Message> = Extract<OneOf<Message>, { case: string }>["case"];
export type ValueOf<Message, Case> =
  Extract<OneOf<Message>, { case: Case }> extends { value: infer Value } ? Value : never;

/** One bidirectional stream whose messages are a oneof named `message`, message by message. */
export interface RawDuplex<Up extends DescMessage, Down extends DescMessage> {
  readonly received: readonly MessageShape<Down>[];
  send(message: MessageInitShape<Up>): void;
  /** The first message of this case that no `next` had before; waits for it. */
  next<Case extends CaseOf<MessageShape<Down>>>(
    name: Case,
    isWanted?: (value: ValueOf<MessageShape<Down>, Case>) => boolean,
  ): Promise<ValueOf<MessageShape<Down>, Case>>;
  /** How it ended: null in good order. */
  readonly ended: Promise<RawFailure | null>;
  halfClose(): void;
  cancel(): void;
  pause(): void;
  resume(): void;
}

const waitMs = 25_000;

export function openRawDuplex<Up extends DescMessage, Down extends DescMessage>(
  call: ClientDuplexStream<Uint8Array, Buffer>,
  up: Up,
  down: Down,
): RawDuplex<Up, Down> {
  const received: MessageShape<Down>[] = [];
  const used = new Set<unknown>();
  const waiting = new Set<() => void>();
  let end: { readonly failure: RawFailure | null } | undefined;
  const lookAll = () => {
    for (const look of [...waiting]) look();
  };
  const ended = new Promise<RawFailure | null>((resolve) => {
    call.on("status", (status: StatusObject) => {
      end = { failure: status.code === 0 ? null : readFailure(status) };
      resolve(end.failure);
      lookAll();
    });
  });
  call.on("error", () => undefined);
  call.on("data", (bytes: Buffer) => {
    received.push(fromBinary(down, bytes));
    lookAll();
  });
  return {
    received,
    ended,
    send: (message) => void call.write(toBinary(up, create(up, message))),
    next: (name, isWanted = () => true) =>
      new Promise((resolve, reject) => {
        const stop = () => {
          clearTimeout(late);
          waiting.delete(look);
        };
        const late = setTimeout(() => {
          stop();
          reject(new Error(`no such ${name} within ${waitMs} ms; received: ${casesOf(received)}`));
        }, waitMs);
        const look = () => {
          for (const one of received) {
            const { message } = one as unknown as { message: { case: string; value: never } };
            if (used.has(one) || message.case !== name || !isWanted(message.value)) continue;
            used.add(one);
            stop();
            return resolve(message.value);
          }
          if (!end) return;
          stop();
          reject(new Error(`the stream ended before a ${name}: ${JSON.stringify(end.failure)}`));
        };
        waiting.add(look);
        look();
      }),
    halfClose: () => call.end(),
    cancel: () => call.cancel(),
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
}

function casesOf(received: readonly unknown[]): string {
  return received.map((one) => (one as { message: { case: string } }).message.case).join(", ");
}
