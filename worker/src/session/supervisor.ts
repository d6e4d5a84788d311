import type { SessionFailure } from "../port.js";
import type { WorkerState } from "../worker-state.js";
import type { AddressRing } from "./address-ring.js";
import type { AttachmentEnd } from "./attachment-end.js";
import { type BackoffPolicy, backoffMs, countFailure, noFailures } from "./backoff.js";

/**
 * Keeps a worker attached to some hub until there is nothing left to attach for.
 *
 *                        ┌──────────── welcome ───────────► live ──────────────┐
 *     connecting ──► attaching                               │ stop(), or      │
 *       ▲   │            │                                   ▼ the hub leaves  │
 *       │   │            │                                draining             │
 *       │   └────────────┴────────────┬──────────────────────┴─────────────────┘
 *       │                             ▼ the stream ended
 *       │   retryable, round over     │
 *       ├── backing-off ◄─────────────┤
 *       │   retryable, drained        │
 *       └─────────────────────────────┤
 *                                     │ served, fatal, or nothing left to attach for
 *                                     └──────────────────────────────► closed
 *
 * A lost connection never ends it. Every attempt is made at the next address of the ring, at once as long as there is
 * one that has not failed since the last hub that lasted.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #state: WorkerState | { readonly name: "new" } = { name: "new" };
  #wake: () => void = () => {};

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Attaches again and again; returns why it stopped, or undefined when the worker is done. */
  async run(): Promise<SessionFailure | undefined> {
    const { ring, backoff, attach, isDone, random } = this.#options;
    let row = noFailures;
    for (; !isDone(); ring.advance()) {
      const address = ring.current;
      this.enter({ name: "connecting", address });
      const end = await attach(address);
      this.#options.onEnd(end, address);
      if (end.outcome === "served") break;
      if (end.outcome === "fatal") {
        this.enter({ name: "closed" });
        return { kind: "refused", failure: end.failure };
      }
      if (isDone()) break;
      // A hub that leaves after a while is no failure; one that only ever says so must not be asked without pause.
      if (end.outcome === "drained" && end.liveMs >= backoff.resetAfterMs) {
        row = noFailures;
        continue;
      }
      row = countFailure(backoff, row, ring.size, { liveMs: end.liveMs, retryAfterMs: retryAfterMs(end) });
      if (row.attempts > 0) continue;
      const delayMs = Math.max(Math.round(backoffMs(backoff, row.roundsFailed, random())), row.retryAfterMs);
      this.enter({ name: "backing-off", delayMs, because: becauseOf(end) });
      await this.#pause(delayMs);
    }
    this.enter({ name: "closed" });
    return undefined;
  }

  /** Looks again whether there is anything left to attach for, instead of waiting to the end of a delay. */
  wake(): void {
    if (this.#options.isDone()) this.#wake();
  }

  /** The one place where the state changes. */
  enter(next: WorkerState): void {
    if (!allowed[this.#state.name].includes(next.name)) {
      throw new Error(`the worker cannot go from ${this.#state.name} to ${next.name}`);
    }
    this.#state = next;
    this.#options.onState(next);
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function retryAfterMs(end: AttachmentEnd): number {
  return end.outcome === "retryable" ? end.retryAfterMs : 0;
}

function becauseOf(end: AttachmentEnd): string {
  return end.outcome === "retryable" ? end.because : "the hub is leaving";
}

const allowed: Record<WorkerState["name"] | "new", readonly WorkerState["name"][]> = {
  new: ["connecting", "closed"],
  connecting: ["attaching", "live", "backing-off", "connecting", "closed"],
  attaching: ["live", "backing-off", "connecting", "closed"],
  live: ["draining", "backing-off", "connecting", "closed"],
  draining: ["draining", "backing-off", "connecting", "closed"],
  "backing-off": ["connecting", "closed"],
  closed: [],
};

export type SupervisorOptions = {
  /** Where to attach. Whoever reserves an address of it decides where the next attempt is made. */
  readonly ring: AddressRing;
  readonly backoff: BackoffPolicy;
  /** One attachment, from its connection to its end. */
  attach(address: string): Promise<AttachmentEnd>;
  /** True when there is nothing left to attach for. */
  isDone(): boolean;
  onState(state: WorkerState): void;
  onEnd(end: AttachmentEnd, address: string): void;
  /** From 0 to 1. */
  random(): number;
};
