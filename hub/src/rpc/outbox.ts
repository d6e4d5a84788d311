import type { Fault } from "../domain/fault.js";
import type { HubMessage } from "../services/session-messages.js";
import type { Outbox } from "../services/worker-session.js";
import { MessageQueue } from "./message-queue.js";

/** Waiting messages at which the hub stops claiming for a worker, and begins again. */
const cloggedAt = 8;
const clearAt = 2;
/** Waiting messages at which the hub stops reading from a worker: it answers nothing that is not read. */
const fullAt = 64;

/** Messages on their way down a lease stream, as an async iterable that its server reads at the worker's pace. */
export class StreamOutbox implements Outbox {
  readonly #messages = new MessageQueue<HubMessage>(fullAt, () => this.#taken());
  #wasClogged = false;
  /** Called when the worker has read enough to be sent leases again. */
  onClear: () => void = () => undefined;
  /** Called once, when the stream ends: what is still on its way to a worker that does not read may take forever. */
  onEnd: () => void = () => undefined;

  send(message: HubMessage): void {
    this.#messages.push(message);
    this.#wasClogged ||= this.isClogged();
  }

  isClogged(): boolean {
    return this.#messages.length >= cloggedAt;
  }

  /** What was sent before still goes down, unless there is a fault. */
  end(fault: Fault | null): void {
    if (this.#messages.isEnded) return;
    this.#messages.end(fault);
    this.onEnd();
  }

  /** Resolves when there is room for answers, or the stream has ended. */
  room(): Promise<void> | null {
    return this.#messages.room();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<HubMessage> {
    return this.#messages[Symbol.asyncIterator]();
  }

  #taken(): void {
    if (!this.#wasClogged || this.#messages.length > clearAt) return;
    this.#wasClogged = false;
    this.onClear();
  }
}
