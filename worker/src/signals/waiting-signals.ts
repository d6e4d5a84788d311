// Signals of a producer that have no receipt yet, in order of publishing: the first has waited longest.
//
// Invariants: their numbers follow each other; those sent on this stream come before those that were not; what waits
// is bounded; each promise is settled once.
import { status } from "@grpc/grpc-js";
import type { Receipt } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { framePublishBatch, numberedRecord } from "../wire/publish-frame.js";

/** Where a signal is stored; a best-effort channel may have dropped it instead. */
export type Published =
  | { readonly outcome: "stored"; readonly partition: number; readonly sequence: number }
  | { readonly outcome: "dropped"; readonly reason: string };

interface WaitingSignal {
  /** Its fields on the wire, but for its number. */
  readonly fields: Uint8Array;
  readonly resolve: (published: Published) => void;
  readonly reject: (error: unknown) => void;
}

const waitingMax = 100_000;
const waitingBytesMax = 64 << 20;
/** What a signal is counted with beside its own bytes. */
const overheadBytes = 64;
const batchSignalsMax = 500;
const batchBytesMax = 512 << 10;

export class WaitingSignals {
  #signals: WaitingSignal[] = [];
  #bytes = 0;
  /** How many of the first were sent on this stream. */
  #sent = 0;
  /** The number of the first; 0 until a stream told which is next. */
  #firstNumber = 0;
  #onEmpty: (() => void)[] = [];

  get isEmpty(): boolean {
    return this.#signals.length === 0;
  }

  /** Resolves with the signal's receipt. */
  add(fields: Uint8Array): Promise<Published> {
    const bytes = fields.length + overheadBytes;
    if (this.#signals.length >= waitingMax || this.#bytes + bytes > waitingBytesMax)
      return Promise.reject(tooMuchWaiting());
    this.#bytes += bytes;
    return new Promise((resolve, reject) => {
      this.#signals.push({ fields, resolve, reject });
    });
  }

  /** A stream opened: everything is sent on it, under the numbers that it had before. */
  opened(lastNumber: number): void {
    this.#sent = 0;
    if (this.#firstNumber === 0) this.#firstNumber = lastNumber + 1;
  }

  /** The next batch as it is sent; undefined when all were sent. */
  nextBatch(): Uint8Array | undefined {
    const records: Uint8Array[] = [];
    let bytes = 0;
    for (let at = this.#sent; at < this.#signals.length && records.length < batchSignalsMax; at += 1) {
      const record = numberedRecord(this.#firstNumber + at, (this.#signals[at] as WaitingSignal).fields);
      if (records.length > 0 && bytes + record.length > batchBytesMax) break;
      bytes += record.length;
      records.push(record);
    }
    this.#sent += records.length;
    return records.length === 0 ? undefined : framePublishBatch(records, bytes);
  }

  /** Receipts come in the order of the signals, so each is about the first that wait. False: they do not fit. */
  settle(receipts: readonly Receipt[]): boolean {
    let done = 0;
    for (const { producerSequence, count, outcome } of receipts) {
      if (Number(producerSequence) !== this.#firstNumber + done || done + count > this.#sent) return false;
      for (let at = 0; at < count; at += 1, done += 1) {
        const { fields, resolve } = this.#signals[done] as WaitingSignal;
        this.#bytes -= fields.length + overheadBytes;
        if (outcome.case === "stored") {
          const { partition, firstSequence } = outcome.value;
          resolve({ outcome: "stored", partition, sequence: Number(firstSequence) + at });
        } else {
          resolve({ outcome: "dropped", reason: outcome.value?.reason ?? "" });
        }
      }
    }
    this.#signals = this.#signals.slice(done);
    this.#sent -= done;
    this.#firstNumber += done;
    if (this.isEmpty) this.#sayEmpty();
    return true;
  }

  /** Resolves when nothing waits. */
  emptied(): Promise<void> {
    if (this.isEmpty) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  rejectAll(reason: Error): void {
    for (const { reject } of this.#signals.splice(0)) reject(reason);
    this.#bytes = 0;
    this.#sent = 0;
    this.#sayEmpty();
  }

  #sayEmpty(): void {
    for (const empty of this.#onEmpty.splice(0)) empty();
  }
}

function tooMuchWaiting(): HoldfastError {
  return new HoldfastError({
    reason: "BACKLOG_FULL",
    message: "too many signals wait for their receipts: await some of them before publishing more",
    metadata: { limit: "waiting signals", value: String(waitingMax) },
    grpcCode: status.RESOURCE_EXHAUSTED,
    retryAfterMs: undefined,
  });
}
