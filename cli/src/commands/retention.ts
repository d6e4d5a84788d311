import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { usageError } from "../cli-error.js";
import { EXIT } from "../exit-codes.js";
import { hubFailure } from "../hub-failure.js";
import { addHubOptions, readConfig } from "../hub-options.js";
import { type Cli, perform } from "../invocation.js";

const DAY_MS = 86_400_000;

const AFTER_HELP = `
History is kept in partitions of a day; those wholly older than --keep are dropped. Jobs that are still open
are never dropped, nor are events that a sink has not got yet, unless --drop-unforwarded says so.
Works on the ledger itself, whether a hub runs or not: --database-url, or the embedded PostgreSQL
of --data-dir. A partition that something else holds for 3 s ends it with exit code 6: what was dropped by
then is gone, and running it again goes on with the rest, which --dry-run shows.

Examples:
  $ holdfast retention --keep 30d --dry-run
  $ holdfast retention --keep 90d --database-url postgres://holdfast@db.example/holdfast`;

interface RetentionFlags {
  readonly keep: number;
  readonly dryRun?: boolean;
  readonly dropUnforwarded?: boolean;
  readonly databaseUrl?: string;
  readonly dataDir?: string;
}

export function addRetentionCommand(program: Command, cli: Cli): void {
  addHubOptions(program.command("retention").description("drop old history"), ["databaseUrl", "dataDir"])
    .requiredOption("--keep <duration>", "how much history to keep, in whole days: 30d", parseDurationMs)
    .option("--dry-run", "say what would be dropped, and drop nothing")
    .option("--drop-unforwarded", "drop events that a sink has not got yet; the gap is announced in it")
    .addHelpText("after", AFTER_HELP)
    .action((flags: RetentionFlags, command: Command) =>
      perform(cli, command, async ({ io, output }) => {
        const keepDays = flags.keep / DAY_MS;
        if (!Number.isInteger(keepDays) || keepDays < 1) {
          throw usageError(
            "--keep must be at least one whole day.",
            "Write it in days, for example --keep 30d.",
          );
        }
        const isDryRun = flags.dryRun === true;
        const config = readConfig({ databaseUrl: flags.databaseUrl, dataDir: flags.dataDir }, io);
        const { runRetention } = await import("@holdfast/hub/retention");
        const report = await withLedger(config, output.remark, (databaseUrl) =>
          runRetention({
            databaseUrl,
            keepDays,
            dryRun: isDryRun,
            dropUnforwarded: flags.dropUnforwarded === true,
          }),
        ).catch((error: unknown) => {
          throw hubFailure(error);
        });
        const kept = report.kept.map((partition) => ({ ...partition }));
        const unforwarded = report.unforwarded.map((partition) => ({ ...partition }));
        output.document({ isDryRun, dropped: [...report.dropped], kept, unforwarded }, () =>
          [
            ...report.dropped.map((name) => `${isDryRun ? "would drop" : "dropped"}  ${name}`),
            ...kept.map(({ partition, openJobs }) => `kept  ${partition}, for its ${openJobs} open jobs`),
            ...unforwarded.map(
              ({ partition, pages }) => `kept  ${partition}, for ${pages} pages that a sink has not got`,
            ),
            `${report.dropped.length} partitions ${isDryRun ? "would be dropped" : "dropped"}, ${kept.length + unforwarded.length} kept.`,
          ].join("\n"),
        );
        return EXIT.ok;
      }),
    );
}

/** Calls with the URL of the ledger; the embedded server is started for it, or the running one used. */
async function withLedger<Result>(
  { databaseUrl, dataDir }: { readonly databaseUrl: string | null; readonly dataDir: string },
  log: (line: string) => void,
  call: (databaseUrl: string) => Promise<Result>,
): Promise<Result> {
  if (databaseUrl !== null) {
    return call(databaseUrl);
  }
  const { startEmbeddedPostgres } = await import("@holdfast/hub/embedded-postgres");
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  try {
    return await call(postgres.url);
  } finally {
    await postgres.stop();
  }
}
