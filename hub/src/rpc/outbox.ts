import type { Fault } from "../domain/fault.js";
import type { HubMessage } from "../services/session-messages.js";
import type { Outbox } from "../services/worker-session.js";

/** Waiting messages at which the hub stops claiming for a worker, and begins again. */
const cloggedAt = 8;
const clearAt = 2;
/** Waiting messages at which the hub stops reading from a worker: it answers nothing that is not read. */
const fullAt = 64;

/** Messages on their way down one stream, as an async iterable that its server reads at the worker's pace. */
export class StreamOutbox implements Outbox {
  readonly #messages: HubMessage[] = [];
  #ended: { readonly fault: Fault | null } | null = null;
  #onMessage: () => void = () => undefined;
  #onRoom: (() => void)[] = [];
  #wasClogged = false;
  /** Called when the worker has read enough to be sent leases again. */
  onClear: () => void = () => undefined;
  /** Called once, when the stream ends: what is still on its way to a worker that does not read may take forever. */
  onEnd: () => void = () => undefined;

  send(message: HubMessage): void {
    if (this.#ended) return;
    this.#messages.push(message);
    this.#wasClogged ||= this.isClogged();
    this.#onMessage();
  }

  isClogged(): boolean {
    return this.#messages.length >= cloggedAt;
  }

  /** What was sent before still goes down, unless there is a fault. */
  end(fault: Fault | null): void {
    if (this.#ended) return;
    this.#ended = { fault };
    if (fault) this.#messages.length = 0;
    this.#onMessage();
    this.#makeRoom();
    this.onEnd();
  }

  /** Resolves when there is room for answers, or the stream has ended. */
  room(): Promise<void> | null {
    if (this.#messages.length < fullAt || this.#ended) return null;
    return new Promise((resolve) => this.#onRoom.push(resolve));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<HubMessage> {
    for (;;) {
      if (this.#ended?.fault) throw this.#ended.fault;
      const message = this.#messages.shift();
      if (message) {
        if (this.#wasClogged && this.#messages.length <= clearAt) {
          this.#wasClogged = false;
          this.onClear();
        }
        if (this.#messages.length < fullAt) this.#makeRoom();
        yield message;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#onMessage = resolve;
        });
      }
    }
  }

  #makeRoom(): void {
    const waiting = this.#onRoom;
    this.#onRoom = [];
    for (const resolve of waiting) resolve();
  }
}
