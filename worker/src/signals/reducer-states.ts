import type { Restored } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import type { ReceivedSignal } from "./received-signal.js";
import type { CheckpointOptions, SignalReducer } from "./subscribe-options.js";

interface PartitionState<State> {
  state: State;
  /** All signals up to this are in the state. */
  sequence: number;
  unsaved: number;
  savedAtMs: number;
}

/** A state to be saved. */
export type DueCheckpoint = {
  readonly partition: number;
  readonly sequence: number;
  readonly state: Uint8Array;
};

/** What a reducer made of each partition on one stream, and when it is to be saved. */
export class ReducerStates<State> {
  readonly #reduce: SignalReducer<State>;
  readonly #options: CheckpointOptions<State>["checkpoint"];
  readonly #states = new Map<number, PartitionState<State>>();

  constructor(reduce: SignalReducer<State>, options: CheckpointOptions<State>["checkpoint"]) {
    this.#reduce = reduce;
    this.#options = options;
  }

  restore({ partition, checkpoint, position }: Restored): void {
    const state = checkpoint
      ? (JSON.parse(new TextDecoder().decode(checkpoint.state)) as State)
      : this.#options.initial();
    this.#states.set(partition, { state, sequence: Number(position), unsaved: 0, savedAtMs: Date.now() });
  }

  /** What the reducer throws leaves the state in doubt: it has to be restored. */
  reduce(signal: ReceivedSignal): Promise<void> | undefined {
    const held = this.#states.get(signal.partition);
    if (held === undefined || signal.sequence <= held.sequence) return undefined;
    const next = this.#reduce(signal, held.state);
    if (next instanceof Promise) return next.then((state) => advance(held, signal.sequence, state));
    advance(held, signal.sequence, next);
    return undefined;
  }

  /** Signals up to this will not come. */
  skip(partition: number, through: number): void {
    const held = this.#states.get(partition);
    if (held !== undefined) held.sequence = Math.max(held.sequence, through);
  }

  forget(partition: number): void {
    this.#states.delete(partition);
  }

  takeDue(nowMs: number): DueCheckpoint[] {
    const { everySignals = 1_000, everyMs = 1_000 } = this.#options;
    return this.#take(
      nowMs,
      ({ unsaved, savedAtMs }) => unsaved >= everySignals || (unsaved > 0 && nowMs - savedAtMs >= everyMs),
    );
  }

  takeUnsaved(): DueCheckpoint[] {
    return this.#take(Date.now(), ({ unsaved }) => unsaved > 0);
  }

  #take(nowMs: number, isDue: (held: PartitionState<State>) => boolean): DueCheckpoint[] {
    const due: DueCheckpoint[] = [];
    for (const [partition, held] of this.#states) {
      if (!isDue(held)) continue;
      held.unsaved = 0;
      held.savedAtMs = nowMs;
      const state = new TextEncoder().encode(JSON.stringify(held.state));
      due.push({ partition, sequence: held.sequence, state });
    }
    return due;
  }
}

function advance<State>(held: PartitionState<State>, sequence: number, state: State): void {
  held.state = state;
  held.sequence = sequence;
  held.unsaved += 1;
}
