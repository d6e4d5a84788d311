/** Messages on their way down one stream, in order, as an async iterable that its server reads at the caller's pace. */
export class MessageQueue<Message> {
  readonly #messages: Message[] = [];
  readonly #fullAt: number;
  readonly #onTaken: () => void;
  #ended: { readonly error: unknown } | null = null;
  #onMessage: () => void = () => undefined;
  #onRoom: (() => void)[] = [];

  /**
   * @param fullAt waiting messages at which `room` waits
   * @param onTaken called for each message that is read, before it is handed out
   */
  constructor(fullAt: number, onTaken: () => void = () => undefined) {
    this.#fullAt = fullAt;
    this.#onTaken = onTaken;
  }

  /** Messages that wait. */
  get length(): number {
    return this.#messages.length;
  }

  push(message: Message): void {
    if (this.#ended) return;
    this.#messages.push(message);
    this.#onMessage();
  }

  /** What was pushed before still goes down, unless there is an error. */
  end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = { error };
    if (error) this.#messages.length = 0;
    this.#onMessage();
    this.#makeRoom();
  }

  get isEnded(): boolean {
    return this.#ended !== null;
  }

  /** Resolves when there is room, or the stream has ended. */
  room(): Promise<void> | null {
    if (this.#messages.length < this.#fullAt || this.#ended) return null;
    return new Promise((resolve) => this.#onRoom.push(resolve));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (;;) {
      if (this.#ended?.error) throw this.#ended.error;
      const message = this.#messages.shift();
      if (message !== undefined) {
        this.#onTaken();
        if (this.#messages.length < this.#fullAt) this.#makeRoom();
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
