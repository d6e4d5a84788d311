/**
 * The checkpoints of one attempt on their way to the hub: at most one is open, and of those that come meanwhile only
 * the newest waits. A newer state makes an older one that was never sent pointless, so both calls get the same answer.
 *
 *     idle ──save──► open ──save──► open + waiting ──┐ save: the newer state takes the waiting one's place
 *       ▲             │  ▲               │           │
 *       └── answered ─┘  └── answered ───┘◄──────────┘
 *     any ──close──► closed: every save is refused
 */
export class CheckpointSlot {
  readonly #send: (sequence: number, state: Uint8Array) => void;
  #sequence: number;
  #open: Promised | undefined;
  #waiting: (Promised & { state: Uint8Array }) | undefined;
  #closed: Error | undefined;

  /** @param sequence of the checkpoint that the attempt started from; 0 for none */
  constructor(sequence: number, send: (sequence: number, state: Uint8Array) => void) {
    this.#sequence = sequence;
    this.#send = send;
  }

  save(state: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) return refused(this.#closed);
    if (this.#open === undefined) {
      this.#open = promised();
      this.#send(++this.#sequence, state);
      return this.#open.promise;
    }
    if (this.#waiting === undefined) this.#waiting = { ...promised(), state };
    else this.#waiting.state = state;
    return this.#waiting.promise;
  }

  /** The hub answered. An answer to anything but the open checkpoint is an old one. */
  answered(sequence: number, failure: Error | undefined): void {
    if (this.#open === undefined || sequence !== this.#sequence) return;
    const open = this.#open;
    this.#open = undefined;
    if (failure === undefined) open.resolve();
    else open.reject(failure);
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    this.#open = waiting;
    this.#send(++this.#sequence, waiting.state);
  }

  /** Nothing will be answered any more: the attempt is over, or its lease is gone. The first reason stays. */
  close(failure: Error): void {
    this.#closed ??= failure;
    this.#open?.reject(failure);
    this.#waiting?.reject(failure);
    this.#open = undefined;
    this.#waiting = undefined;
  }
}

type Promised = {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (failure: Error) => void;
};

function promised(): Promised {
  let resolve: () => void = () => {};
  let reject: (failure: Error) => void = () => {};
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise: quiet(promise), resolve, reject };
}

function refused(failure: Error): Promise<void> {
  return quiet(Promise.reject(failure));
}

/** A handler may save without waiting; losing the lease reaches it through its signal and must not end the process. */
function quiet(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}
