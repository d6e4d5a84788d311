import type { Stage } from "../stage.js";

/** When a backlog was worked off, by the clock of wall-clock.ts. */
export interface DrainMarks {
  /** The first job is in the hands of whoever runs it. */
  readonly firstLeaseAtMs: number;
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
  readonly payloadBytes: number;
  /** No step may take longer. */
  readonly stepMsMax: number;
}

export interface Contestant {
  readonly name: string;
  readonly title: string;
  /** What it runs with beyond its defaults. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Puts the backlog in; when it resolves no program of it is left. */
  preload(heat: Heat): Promise<void>;
  /** Works the backlog off; when it resolves no program of it is left. `drained` is called at the last verdict. */
  drain(heat: Heat, drained: (marks: DrainMarks) => Promise<void>): Promise<void>;
  /** Counts the jobs that have not ended well, by the database's own account: 0 after a drain. */
  readonly unfinishedQuery: string;
}
