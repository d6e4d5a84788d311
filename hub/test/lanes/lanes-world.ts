import type { Ref } from "../../src/domain/lane.js";
import type { Lanes, Stretch } from "../../src/lanes/lanes.js";
import { keysOf } from "../harness/refs.js";

const laneId = 1;
const noLimit = Number.POSITIVE_INFINITY;
const roundsMax = 5_000;

/** Lanes of one adapter, as a suite uses them. */
export interface LanesUnderTest {
  readonly lanes: Lanes;
  /** Whether refs that only the ledger knows come before younger ones that were offered. */
  readonly isOrderedByLedger: boolean;
  /** Lets whatever is under way come to its end; a window that is sought is full then, or nothing is left to come. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** A plain list that stands for the ledger, and the looks into it that lanes ask for, as services make them. */
export class LanesWorld {
  readonly lanes: Lanes;
  /** Every job that became ready, in order. */
  readonly ready: Ref[] = [];
  readonly claimed = new Set<string>();
  readonly #under: LanesUnderTest;
  readonly #pageRefsMax: number;

  constructor(under: LanesUnderTest, pageRefsMax: number) {
    this.#under = under;
    this.lanes = under.lanes;
    this.#pageRefsMax = pageRefsMax;
  }

  /** Jobs become ready, and nobody is told. */
  commit(refs: readonly Ref[]): void {
    const known = new Set(this.ready.map((ref) => ref.jobId));
    this.ready.push(...refs.filter((ref) => !known.has(ref.jobId)));
    this.ready.sort((one, other) => one.readyKey - other.readyKey);
  }

  offer(refs: readonly Ref[]): void {
    this.commit(refs);
    this.lanes.offer(refs);
  }

  page(id: number, { afterKey, throughKey }: Stretch): { refs: Ref[]; isEnd: boolean } {
    const all = this.ready.filter(
      (ref) =>
        ref.laneId === id &&
        !this.claimed.has(ref.jobId) &&
        ref.readyKey > afterKey &&
        ref.readyKey <= (throughKey ?? noLimit),
    );
    return { refs: all.slice(0, this.#pageRefsMax), isEnd: all.length < this.#pageRefsMax };
  }

  look(id: number, stretch: Stretch): void {
    this.lanes.beginFill(id, stretch);
    const { refs, isEnd } = this.page(id, stretch);
    this.lanes.fill(id, refs, isEnd);
  }

  /** Sessions are hungry for a lane until nothing comes of it any more, but for what the ledger alone knows. */
  async calm(id = laneId): Promise<void> {
    for (let round = 0; round < roundsMax; round += 1) {
      if (this.lanes.head(id) === undefined) this.lanes.seek(id);
      await this.#under.settled();
      const wanted = this.lanes.wants(id);
      if (!wanted) return;
      this.look(id, wanted);
    }
    throw new Error("The lanes never have enough.");
  }

  /** Sessions stay hungry for a lane that has nothing, so that the ledger is asked. */
  async starve(id = laneId): Promise<void> {
    await this.calm(id);
    const stretch = this.lanes.head(id) ? null : this.lanes.seek(id);
    if (stretch) this.look(id, stretch);
    await this.calm(id);
  }

  async take(jobsMax: number, bytesMax = noLimit, id = laneId): Promise<Ref[]> {
    await this.calm(id);
    return this.lanes.take(id, jobsMax, bytesMax);
  }

  /** Claims as the ledger grants them: once each. Answers the places of what was granted. */
  claim(refs: readonly Ref[]): number[] {
    const granted = refs.filter((ref) => !this.claimed.has(ref.jobId));
    for (const ref of granted) this.claimed.add(ref.jobId);
    this.lanes.settle(refs);
    return keysOf(granted);
  }

  /** The places of what is granted until nothing is left, some at a time. */
  async takeAll(id = laneId, jobsAtOnce = 4): Promise<number[]> {
    const keys: number[] = [];
    for (;;) {
      const refs = await this.take(jobsAtOnce, noLimit, id);
      if (refs.length === 0) return keys;
      keys.push(...this.claim(refs));
    }
  }

  isOrderedByLedger(): boolean {
    return this.#under.isOrderedByLedger;
  }

  close(): Promise<void> {
    return this.#under.close();
  }
}
