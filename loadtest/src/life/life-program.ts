/** What a program of the life benchmark is to do: keep jobs open, and count what is committed. */
export interface LifeParams {
  readonly payloadBytes: number;
  /** Jobs that are submitted and not committed, at most: more are submitted as these end. */
  readonly openMax: number;
  /** Jobs that are there already; part of those that are open. */
  readonly preloaded: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Whether all jobs are worked off before it ends; a large backlog is left. */
  readonly isDrained: boolean;
}

export interface LifeMark {
  readonly atMs: number;
  /** Verdicts since the start of the program. */
  readonly committed: number;
}

export interface LifeEnd {
  /** With those that were there already. */
  readonly submitted: number;
  readonly committed: number;
  /** Committed in each second that was measured. */
  readonly perSecond: readonly number[];
}

/** What it says, in this order. */
export type LifeSays = {
  readonly warm: LifeMark;
  readonly lived: LifeMark;
  readonly ended: LifeEnd;
};

/** Tells of a life; the `say` of a program that tells of other things too is one. */
export interface TellLife {
  (kind: "warm" | "lived", mark: LifeMark): void;
  (kind: "ended", end: LifeEnd): void;
}
