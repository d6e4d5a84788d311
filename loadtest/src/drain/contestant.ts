import type { Stage } from "../stage.js";

/** When a backlog was worked off, by one clock. */
export interface DrainMarks {
  /** The results that warm up are committed; from here on it counts. */
  readonly warmAtMs: number;
  /** The last result is known to be committed. */
  readonly lastVerdictAtMs: number;
}

/** One try of one contestant, on a database of its own. */
export interface Heat {
  readonly stage: Stage;
  /** Contestant and round. */
  readonly label: string;
  readonly databaseUrl: string;
  readonly jobs: number;
  /** How many of them are worked off before it counts: at least one. */
  readonly warmUpJobs: number;
  readonly payloadBytes: number;
  /** No step may take longer. */
  readonly stepMsMax: number;
}

/** Whose work is measured, whatever the benchmark. */
export interface Racer {
  readonly name: string;
  readonly title: string;
  /** Holdfast itself, the limit that the same SQL sets, or somebody else's queue. */
  readonly role: "holdfast" | "limit" | "peer";
  /** What it runs with beyond its defaults. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Puts a backlog in; when it resolves no program of it is left. */
  preload(heat: Heat): Promise<void>;
  /** Counts the jobs that have not ended well, by the database's own account: 0 after a drain. */
  readonly unfinishedQuery: string;
}

export interface Contestant extends Racer {
  /** Works the backlog off; when it resolves no program of it is left. `drained` is called at the last verdict. */
  drain(heat: Heat, drained: (marks: DrainMarks) => Promise<void>): Promise<void>;
}
