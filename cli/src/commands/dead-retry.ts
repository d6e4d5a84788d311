import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { wholeNumber } from "../arguments/number.js";
import { usageError } from "../cli-error.js";
import type { Connection } from "../connection.js";
import { type DeadFilterFlags, deadFilter, isNarrowed, withDeadFilter } from "../dead-filter.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { callAfter } from "../long-timer.js";
import { writeResults } from "./result-list.js";

interface RetryFlags extends DeadFilterFlags {
  readonly all?: boolean;
  readonly yes?: boolean;
  readonly batch: number;
  readonly pause: number;
  readonly reason?: string;
}

const AFTER_HELP = `
Without --yes it shows what would be retried and changes nothing. With it, batch after batch goes back to work, with a
pause after each: what they died of must bear them. Resolved ones are only retried by id.

Examples:
  $ holdfast dead retry --class rate-limited --before -10m
  $ holdfast dead retry --class rate-limited --before -10m --yes --batch 20 --pause 5s
  $ holdfast dead retry 0198c7f0-… 0198c7f1-… --yes --reason "fixed in 1.4.2"`;

export function addDeadRetryCommand(dead: Command, cli: Cli): void {
  withDeadFilter(dead.command("retry").description("send dead letters back to ready, in batches"))
    .argument("[ids...]", "ids of the jobs; without any, those that match the options")
    .option("--all", "without ids and other options: all of them")
    .option("--yes", "do it; without this, only show what would be done")
    .option("--batch <letters>", "how many at a time", wholeNumber(1, 500), 100)
    .option("--pause <duration>", "how long to wait after each batch", parseDurationMs, 1_000)
    .option("--reason <text>", "why, for the history")
    .addHelpText("after", AFTER_HELP)
    .action((jobIds: string[], flags: RetryFlags, command: Command) =>
      perform(cli, command, async (invocation) => {
        if (jobIds.length > 0 && (isNarrowed(flags) || flags.all === true)) {
          throw usageError("Ids and a filter do not go together.", "Name ids, or say which ones by options.");
        }
        if (jobIds.length === 0 && !isNarrowed(flags) && flags.all !== true) {
          throw usageError("Which dead letters?", "Name ids, narrow by options, or say --all.");
        }
        return await retryInBatches(invocation, jobIds, flags);
      }),
    );
}

async function retryInBatches(
  { output, connection }: Invocation,
  jobIds: readonly string[],
  flags: RetryFlags,
): Promise<ExitCode> {
  const client = connection().deadLetters;
  const isDryRun = flags.yes !== true;
  let exitCode: ExitCode = EXIT.ok;
  let count = 0;
  for await (const results of batches(client, jobIds, flags, isDryRun)) {
    count += results.filter(({ refused }) => refused === undefined).length;
    const code = writeResults(output, results, isDryRun ? "would be retried" : "retried");
    if (code !== EXIT.ok) exitCode = code;
  }
  output.remark(isDryRun ? `${count} would be retried; --yes does it.` : `${count} went back to work.`);
  return exitCode;
}

async function* batches(
  client: Connection["deadLetters"],
  jobIds: readonly string[],
  flags: RetryFlags,
  dryRun: boolean,
) {
  const about = { reason: flags.reason ?? "", dryRun };
  const pause = () =>
    new Promise<void>((resolve) => {
      callAfter(dryRun ? 0 : flags.pause, resolve);
    });
  if (jobIds.length > 0) {
    for (let at = 0; at < jobIds.length; at += flags.batch) {
      if (at > 0) await pause();
      const jobs = { jobIds: jobIds.slice(at, at + flags.batch) };
      yield (await client.retry({ ...about, target: { case: "jobs", value: jobs } })).results;
    }
    return;
  }
  const target = { case: "filter", value: deadFilter(flags) } as const;
  let pageToken = "";
  do {
    const answer = await client.retry({ ...about, target, pageSize: flags.batch, pageToken });
    yield answer.results;
    pageToken = answer.nextPageToken;
    if (pageToken !== "" && answer.results.length > 0) await pause();
  } while (pageToken !== "");
}
