// Messages that were handed to this hub and not let go of yet. A message is acknowledged once each of its refs is
// settled; one whose refs are returned goes back to the stream as soon as none of its refs is taken.
//
// Invariants
//  1. A message that is held is said to be worked on before the stream would give it to another hub.
//  2. A returned message comes with all its refs again; those that were settled here are left out if it comes here.
import type { Msg } from "@nats-io/transport-node";
import type { Ref } from "../domain/lane.js";

interface HeldMessage {
  readonly message: Msg;
  readonly sequence: string;
  /** Its refs that are neither settled nor returned. */
  openRefs: number;
  isReturned: boolean;
  readonly settled: string[];
  confirmedAtMs: number;
}

const acknowledged = "+ACK";
const returned = "-NAK";
const inProgress = "+WPI";
const rememberedMax = 1_000;

export class HeldMessages {
  readonly #byJob = new Map<string, HeldMessage>();
  readonly #held = new Set<HeldMessage>();
  /** Refs that were settled of messages that were returned, by sequence. */
  readonly #settledBefore = new Map<string, readonly string[]>();

  get size(): number {
    return this.#held.size;
  }

  /** Takes a message in; answers those of its refs that are to wait here. */
  hold(message: Msg, refs: readonly Ref[], isHere: (jobId: string) => boolean, nowMs: number): Ref[] {
    const { sequence } = deliveryOf(message);
    const settled = this.#settledBefore.get(sequence) ?? [];
    const held: HeldMessage = {
      message,
      sequence,
      openRefs: 0,
      isReturned: false,
      settled: [...settled],
      confirmedAtMs: nowMs,
    };
    this.#held.add(held);
    const skipped = new Set(settled);
    const own: Ref[] = [];
    for (const ref of refs) {
      // A ref that is here already needs no second one: whoever has it settles it or returns it.
      if (skipped.has(ref.jobId) || isHere(ref.jobId) || this.#byJob.has(ref.jobId)) continue;
      this.#byJob.set(ref.jobId, held);
      own.push(ref);
    }
    held.openRefs = own.length;
    if (own.length === 0) this.#finish(held);
    return own;
  }

  settle(jobId: string): void {
    const held = this.#letGo(jobId);
    if (!held) return;
    held.settled.push(jobId);
    if (held.openRefs === 0) this.#finish(held);
  }

  /** Returns refs that wait here to the stream; answers those that came from no message. */
  return(refs: readonly Ref[]): Ref[] {
    const loose: Ref[] = [];
    for (const ref of refs) {
      const held = this.#letGo(ref.jobId);
      if (!held) {
        loose.push(ref);
        continue;
      }
      held.isReturned = true;
      if (held.openRefs === 0) this.#finish(held);
    }
    return loose;
  }

  /** Says of messages that were not heard of since then that they are worked on. */
  confirm(sinceMs: number, nowMs: number): void {
    for (const held of this.#held) {
      if (held.confirmedAtMs > sinceMs) continue;
      held.confirmedAtMs = nowMs;
      answer(held, inProgress);
    }
  }

  /** The stream that they came from is gone; their refs wait on, from no message. */
  forget(): void {
    this.#byJob.clear();
    this.#held.clear();
    this.#settledBefore.clear();
  }

  #letGo(jobId: string): HeldMessage | undefined {
    const held = this.#byJob.get(jobId);
    if (!held) return undefined;
    this.#byJob.delete(jobId);
    held.openRefs -= 1;
    return held;
  }

  #finish(held: HeldMessage): void {
    this.#held.delete(held);
    this.#settledBefore.delete(held.sequence);
    answer(held, held.isReturned ? returned : acknowledged);
    if (!held.isReturned || held.settled.length === 0) return;
    this.#settledBefore.set(held.sequence, held.settled);
    const [oldest] = this.#settledBefore.keys();
    if (this.#settledBefore.size > rememberedMax && oldest) this.#settledBefore.delete(oldest);
  }
}

function answer({ message }: HeldMessage, what: string): void {
  try {
    message.respond(what);
  } catch {
    // Its connection was closed for good: the stream hands it out again, which is harmless (D10).
  }
}

/** What the reply subject of a delivered message says, counted from its end: the tokens before differ by version. */
export function deliveryOf(message: Msg): { sequence: string; deliveries: number; pending: number } {
  const tokens = (message.reply ?? "").split(".");
  // $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<time>.<pending>, or with a domain and an
  // account after $JS.ACK and a token more at the end.
  const first = tokens.length === 9 ? 4 : 6;
  return {
    deliveries: Number(tokens[first] ?? 1),
    sequence: tokens[first + 1] ?? "",
    pending: Number(tokens[first + 4] ?? 0),
  };
}
