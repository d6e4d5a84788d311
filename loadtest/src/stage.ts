// What a benchmark plays on: a PostgreSQL server of its own in a temporary directory, and programs.
import { join } from "node:path";
import type { DiskFacts } from "./fsync-probe.js";
import { openPostgresServer, type PostgresServer } from "./postgres-server.js";
import type { PostgresParams, PostgresSays } from "./programs/postgres.js";
import { type Program, startProgram } from "./start-program.js";

const postgresUpWithinMs = 120_000;

export interface Stage {
  readonly postgres: PostgresServer;
  readonly disk: DiskFacts;
  /** Is removed when the stage is closed. */
  readonly scratchDir: string;
  /** Runs a file of programs/; `label` names its profiles. */
  start<Params extends object, Says>(program: string, params: Params, label: string): Program<Says>;
  /** Tells whoever watches how far it is. */
  log(line: string): void;
  close(): Promise<void>;
}

/** @param profileDir where the CPU profiles of its programs go; null for none */
export async function openStage(profileDir: string | null, log: (line: string) => void): Promise<Stage> {
  const params: PostgresParams = {};
  const server = startProgram<PostgresSays>({ program: "postgres", params, profileDir: null });
  try {
    const { url, scratchDir, disk } = await server.said("up", postgresUpWithinMs);
    const postgres = await openPostgresServer(url);
    return {
      postgres,
      disk,
      scratchDir,
      log,
      start: (program, given, label) =>
        startProgram({
          program,
          params: given,
          profileDir: profileDir === null ? null : join(profileDir, label, program),
        }),
      close: async () => {
        await postgres.close();
        await server.stop();
      },
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}
