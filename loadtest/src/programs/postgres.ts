// The server of a benchmark, in a temporary directory that goes when it ends.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { startEmbeddedPostgres } from "@holdfast/hub/embedded-postgres";
import { type DiskFacts, probeDisk } from "../fsync-probe.js";
import { runProgram } from "../run-program.js";

export type PostgresParams = Record<never, never>;

export type PostgresSays = {
  readonly up: { readonly url: string; readonly scratchDir: string; readonly disk: DiskFacts };
};

await runProgram<PostgresParams, PostgresSays>(async (_params, say) => {
  const scratchDir = await mkdtemp(join(tmpdir(), "holdfast-bench-"));
  const remove = (directory: string) => rm(directory, { recursive: true, force: true, maxRetries: 10 });
  try {
    // The account that the server runs as must get through.
    await chmod(scratchDir, 0o755);
    const disk = await probeDisk(scratchDir);
    const server = await startEmbeddedPostgres({
      dataDir: scratchDir,
      settings: { synchronous_commit: "on" },
      log: (line) => process.stdout.write(`${line}\n`),
    });
    say("up", { url: server.url, scratchDir, disk });
    return async () => {
      await server.stop();
      await remove(scratchDir);
      // Elsewhere when the account cannot enter the temporary directory.
      await remove(dirname(server.dataDir));
    };
  } catch (error) {
    await remove(scratchDir);
    throw error;
  }
});
