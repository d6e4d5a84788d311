import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { SignalPageSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { WaitSchema, type WaitVerdict, WaitVerdictSchema } from "@holdfast/gen/holdfast/v1/wait_pb";
import { HoldfastError } from "../grpc/holdfast-error.js";
import { LeaseLostError, RevokedError } from "../job-errors.js";
import { channelRef } from "../signals/channel-name.js";
import { ReceivedSignal } from "../signals/received-signal.js";
import { scanPage } from "../wire/signal-scan.js";
import type { AwaitedChannel, WaitOptions } from "./job-context.js";

type Waiting = {
  readonly requestId: string;
  readonly resolve: (signal: ReceivedSignal | undefined) => void;
  readonly reject: (reason: Error) => void;
};

/**
 * The waits of one attempt, one at a time. An answer is the signal, or that the time is over; when the job is suspended
 * there is none, for the attempt is over: its handler stays where it is, so that neither what follows nor its `catch`
 * nor its `finally` runs, and is started anew once the job is woken.
 *
 *     idle ──wait──► asking ──signal, timed out, refused──► idle
 *                      └──suspended──► (never answered)
 */
export class JobWaits {
  readonly #job: { readonly id: string; readonly fencingToken: bigint; readonly signal: AbortSignal };
  readonly #send: (requestId: string, wait: Uint8Array) => void;
  #waiting: Waiting | undefined;
  #closed: Error | undefined;

  constructor(
    job: { readonly id: string; readonly fencingToken: bigint; readonly signal: AbortSignal },
    send: (requestId: string, wait: Uint8Array) => void,
  ) {
    this.#job = job;
    this.#send = send;
  }

  wait(
    channel: AwaitedChannel,
    { after = 0, key = "", timeoutMs }: WaitOptions,
  ): Promise<ReceivedSignal | undefined> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#waiting !== undefined)
      return Promise.reject(new Error("the job waits for a signal already; one wait at a time"));
    const { id: jobId, fencingToken, signal } = this.#job;
    if (signal.aborted) return Promise.reject(signal.reason);
    const requestId = randomUUID();
    const message = create(WaitSchema, {
      requestId,
      jobId,
      fencingToken,
      channel: channelRef(typeof channel === "string" ? { name: channel, jobId } : channel),
      key,
      after: BigInt(after),
      ...(timeoutMs !== undefined && { timeout: durationFromMs(Math.ceil(timeoutMs)) }),
    });
    return new Promise((resolve, reject) => {
      this.#waiting = { requestId, resolve, reject };
      signal.addEventListener("abort", () => this.#give(requestId)?.reject(signal.reason), { once: true });
      this.#send(requestId, toBinary(WaitSchema, message));
    });
  }

  /** Takes a verdict in, any but a suspension; returns why, when it says that the job is not this attempt's any more. */
  answered(bytes: Uint8Array): LeaseLostError | undefined {
    const { requestId, answer } = fromBinary(WaitVerdictSchema, bytes);
    const waiting = this.#give(requestId);
    switch (answer.case) {
      case "signal":
        waiting?.resolve(toSignal(answer.value));
        return undefined;
      case "timedOut":
        waiting?.resolve(undefined);
        return undefined;
      default: {
        const reason = refusal(answer);
        waiting?.reject(reason);
        return reason instanceof LeaseLostError ? reason : undefined;
      }
    }
  }

  /** The job is suspended: nobody is answered any more. */
  forget(): void {
    this.#waiting = undefined;
  }

  /** Nothing will be answered any more. The first reason stays. */
  close(reason: Error): void {
    this.#closed ??= reason;
    if (this.#waiting) this.#give(this.#waiting.requestId)?.reject(reason);
  }

  #give(requestId: string): Waiting | undefined {
    const waiting = this.#waiting;
    if (waiting?.requestId !== requestId) return undefined;
    this.#waiting = undefined;
    return waiting;
  }
}

function toSignal({
  page,
  partition,
}: Extract<WaitVerdict["answer"], { case: "signal" }>["value"]): ReceivedSignal {
  const bytes = Buffer.from(toBinary(SignalPageSchema, page ?? create(SignalPageSchema)));
  return new ReceivedSignal(bytes, scanPage(bytes, 0, bytes.length), 0, partition, false);
}

function refusal(answer: WaitVerdict["answer"]): Error {
  if (answer.case !== "refused") return new Error(`the hub gave no fitting answer: ${answer.case}`);
  const { reason, message, metadata } = answer.value;
  if (reason === "STALE_FENCE") return new LeaseLostError(message);
  if (reason === "CANCEL_REQUESTED") return new RevokedError("cancelled", message);
  return new HoldfastError({ reason, message, metadata, grpcCode: 9, retryAfterMs: undefined });
}
