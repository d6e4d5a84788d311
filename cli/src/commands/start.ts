import type { HubOptions } from "@holdfast/hub/config";
import type { Command } from "commander";
import { wholeNumber } from "../arguments/number.js";
import { addHubOptions, readConfig } from "../hub-options.js";
import { type Cli, perform } from "../invocation.js";

const AFTER_HELP = `
Starts a real PostgreSQL, a hub and workers, scans the installed packages of DIR with one job each, writes a
CycloneDX bill of materials, and stays up. Everything it keeps is in the data directory: run it again at will.

Examples:
  $ holdfast start
  $ holdfast start ../another-project --once --out sbom.json
  $ holdfast start --once --json | jq .jobsPerSecond
  $ holdfast start --grpc-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --data-dir .holdfast-2`;

interface StartFlags extends HubOptions {
  readonly once?: boolean;
  readonly workers: number;
  readonly concurrency?: number;
  readonly out?: string;
}

export function addStartCommand(program: Command, cli: Cli): void {
  const command = program
    .command("start")
    .description("start PostgreSQL, a hub and workers, and scan the packages of a project");
  addHubOptions(command, ["dataDir", "grpcListen", "httpListen"])
    .argument("[dir]", "project whose installed packages are scanned", ".")
    .option("--once", "stop everything after the scan")
    .option("--workers <workers>", "worker processes", wholeNumber(1, 64), 3)
    .option("--concurrency <jobs>", "jobs at the same time in each worker", wholeNumber(1, 1_000))
    .option("--out <file>", "where the bill of materials goes (default: sbom.cdx.json in the data directory)")
    .addHelpText("after", AFTER_HELP)
    .action((directory: string, flags: StartFlags, ran: Command) =>
      perform(cli, ran, async (invocation) => {
        // Loaded when needed: the bill of materials brings a library that no other command should pay for.
        const { runStart } = await import("../start/run-start.js");
        const { dataDir, grpcListen, httpListen } = readConfig(flags, invocation.io);
        const { once = false, workers, concurrency, out } = flags;
        return runStart(
          { directory, once, workers, concurrency, out, dataDir, grpcListen, httpListen },
          invocation,
        );
      }),
    );
}
