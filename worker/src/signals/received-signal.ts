import { fromBinary } from "@bufbuild/protobuf";
import { type DeadLetterOrigin, DeadLetterOriginSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { type ScannedFields, type ScannedPage, scanFields } from "../wire/signal-scan.js";

/**
 * A signal as a consumer sees it. Its fields are read out of the message when the first of them is asked for; whoever
 * keeps signals for long should keep what it needs of them instead.
 */
export class ReceivedSignal {
  readonly partition: number;
  readonly sequence: number;
  /** It was delivered to this consumer before, perhaps handled too: handling must bear that. */
  readonly isRedelivered: boolean;
  readonly #page: ScannedPage;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #end: number;
  #scanned: ScannedFields | undefined;

  /** @param at which of its page */
  constructor(bytes: Buffer, page: ScannedPage, at: number, partition: number, isRedelivered: boolean) {
    this.#bytes = bytes;
    this.#page = page;
    this.#start = page.places[3 * at + 1] as number;
    this.#end = page.places[3 * at + 2] as number;
    this.partition = partition;
    this.sequence = page.firstSequence + at;
    this.isRedelivered = isRedelivered;
  }

  get producer(): string {
    return this.#page.producer;
  }

  get publishedAt(): Date {
    return new Date(this.#page.publishedAtMs);
  }

  get key(): string {
    return this.#fields.key;
  }

  /** A copy of its own. */
  get payload(): Uint8Array {
    const { payloadStart, payloadEnd } = this.#fields;
    return new Uint8Array(this.#bytes.subarray(payloadStart, payloadEnd));
  }

  get contentType(): string {
    return this.#fields.contentType || "application/octet-stream";
  }

  get traceparent(): string {
    return this.#fields.traceparent;
  }

  /** Where a dead letter was before. */
  get deadLetter(): DeadLetterOrigin | undefined {
    const { deadLetterStart, deadLetterEnd } = this.#fields;
    if (deadLetterEnd === deadLetterStart) return undefined;
    return fromBinary(DeadLetterOriginSchema, this.#bytes.subarray(deadLetterStart, deadLetterEnd));
  }

  /** The payload as UTF-8 text. */
  text(): string {
    const { payloadStart, payloadEnd } = this.#fields;
    return this.#bytes.toString("utf8", payloadStart, payloadEnd);
  }

  /** The payload as JSON; throws when it is none. */
  json<Value = unknown>(): Value {
    return JSON.parse(this.text());
  }

  get #fields(): ScannedFields {
    this.#scanned ??= scanFields(this.#bytes, this.#start, this.#end);
    return this.#scanned;
  }
}
