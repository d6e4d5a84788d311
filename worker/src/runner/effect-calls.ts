import { randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  EffectActSchema,
  type EffectVerdict,
  EffectVerdictSchema,
} from "@holdfast/gen/holdfast/v1/effect_pb";
import { LeaseLostError } from "../job-errors.js";

export type ActInit = NonNullable<MessageInitShape<typeof EffectActSchema>["act"]>;
export type Answer = EffectVerdict["answer"];

type Waiting = { readonly resolve: (answer: Answer) => void; readonly reject: (reason: Error) => void };

/**
 * Acts of one attempt on its effects, each on its way until its verdict came. The session sends them again after a
 * reconnect; the hub answers a repeated one as it did the first time.
 */
export class EffectCalls {
  readonly #job: { readonly id: string; readonly fencingToken: bigint };
  readonly #send: (requestId: string, act: Uint8Array) => void;
  readonly #waiting = new Map<string, Waiting>();
  #closed: Error | undefined;

  constructor(
    job: { readonly id: string; readonly fencingToken: bigint },
    send: (requestId: string, act: Uint8Array) => void,
  ) {
    this.#job = job;
    this.#send = send;
  }

  /** Rejects when the attempt is over before an answer came. */
  act(key: string, act: ActInit): Promise<Answer> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const requestId = randomUUID();
    const { id: jobId, fencingToken } = this.#job;
    const message = create(EffectActSchema, { requestId, jobId, fencingToken, key, act });
    return new Promise((resolve, reject) => {
      this.#waiting.set(requestId, { resolve, reject });
      this.#send(requestId, toBinary(EffectActSchema, message));
    });
  }

  /** Takes a verdict in; returns why, when it says that the job is not this attempt's any more. */
  answered(verdict: Uint8Array): LeaseLostError | undefined {
    const { requestId, answer } = fromBinary(EffectVerdictSchema, verdict);
    const waiting = this.#waiting.get(requestId);
    this.#waiting.delete(requestId);
    waiting?.resolve(answer);
    if (answer.case !== "refused") return undefined;
    const { reason, metadata, message } = answer.value;
    const isJobLost = reason === "STALE_FENCE" && metadata.token === "fencing_token";
    return isJobLost ? new LeaseLostError(message) : undefined;
  }

  /** Nothing will be answered any more. The first reason stays. */
  close(reason: Error): void {
    this.#closed ??= reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }
}
