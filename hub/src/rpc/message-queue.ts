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

  /** For one reader, which asks for one message after the other. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    const reader: AsyncIterableIterator<Message> = {
      next: () => {
        const next = this.#take();
        if (next) return Promise.resolve(next);
        return this.#ended ? Promise.reject(this.#ended.error) : this.#whenThere();
      },
      return: () => Promise.resolve({ done: true, value: undefined }),
      [Symbol.asyncIterator]: () => reader,
    };
    return reader;
  }

  /** What is there: a message, or the end in good order. */
  #take(): IteratorResult<Message> | null {
    if (this.#ended?.error) return null;
    const message = this.#messages.shift();
    if (message === undefined) return this.#ended ? { done: true, value: undefined } : null;
    this.#onTaken();
    if (this.#messages.length < this.#fullAt) this.#makeRoom();
    return { done: false, value: message };
  }

  #whenThere(): Promise<IteratorResult<Message>> {
    return new Promise((resolve, reject) => {
      this.#onMessage = () => {
        this.#onMessage = () => undefined;
        const next = this.#take();
        if (next) resolve(next);
        else reject(this.#ended?.error);
      };
    });
  }

  #makeRoom(): void {
    const waiting = this.#onRoom;
    this.#onRoom = [];
    for (const resolve of waiting) resolve();
  }
}
