import { type Bus, type BusMessage, type BusObserver, busMessageBytesMax } from "./bus.js";
import { decodeBusMessage, encodeBusMessage } from "./bus-codec.js";

/** What the adapters have in common: text out, text in, and who is told. */
export class BusEnd {
  readonly #observer: BusObserver;
  readonly #messageListeners: ((message: BusMessage) => void)[] = [];
  readonly #resumedListeners: (() => void)[] = [];

  constructor(observer: BusObserver) {
    this.#observer = observer;
  }

  /** @param send answers whether the text was taken */
  publish(message: BusMessage, send: (text: string) => boolean): boolean {
    const text = encodeBusMessage(message);
    const isSent = Buffer.byteLength(text) <= busMessageBytesMax && send(text);
    this.#observer[isSent ? "sent" : "dropped"](message.type);
    return isSent;
  }

  hear(text: string): void {
    const message = Buffer.byteLength(text) <= busMessageBytesMax ? decodeBusMessage(text) : null;
    if (!message) {
      this.#observer.malformed();
      return;
    }
    this.#observer.received(message.type);
    for (const listener of this.#messageListeners) listener(message);
  }

  resumed(): void {
    for (const listener of this.#resumedListeners) listener();
  }

  /** The listening half of the port. */
  readonly listening: Pick<Bus, "onMessage" | "onResumed"> = {
    onMessage: (listener) => void this.#messageListeners.push(listener),
    onResumed: (listener) => void this.#resumedListeners.push(listener),
  };
}
