import { hostname } from "node:os";
import type { Command } from "commander";
import { DEFAULT_GRPC_ADDRESSES, grpcAddressesOption } from "../arguments/addresses.js";
import { wholeNumber } from "../arguments/number.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { runScanWorker } from "../scan/scan-worker.js";

const AFTER_HELP = `
Ctrl-C drains: it takes no new leases, finishes what runs, and reports it. A second Ctrl-C ends at once;
results without a verdict stay in the worker's journal, and the next worker of the same name reports them.

Examples:
  $ holdfast worker scan
  $ holdfast worker scan --address 127.0.0.1:7420,127.0.0.1:7422
  $ holdfast worker scan --name scan-2 --concurrency 4 --address hub.example:7420 --tls`;

interface ScanFlags {
  readonly name: string;
  readonly concurrency?: number;
  readonly address?: readonly string[];
  readonly tls?: boolean;
  readonly journal?: string;
  readonly sbom?: string;
}

export function addWorkerCommand(program: Command, cli: Cli): void {
  const worker = program.command("worker").description("run a worker that comes with holdfast");

  worker
    .command("scan")
    .description(
      "run scans of installed packages (scan.package, scan.add) and compose what they find (sbom.compose)",
    )
    .option("--name <name>", "name of the worker and of its journal", `scan-${hostname()}`)
    .option("--concurrency <jobs>", "jobs at the same time", wholeNumber(1, 1_000))
    .addOption(grpcAddressesOption("--address"))
    .option("--tls", "speak TLS, trusting the system's authorities or --ca")
    .option("--sbom <file>", "where sbom.compose writes; without it this worker composes nothing")
    .option("--journal <directory>", "where results are kept until their verdict")
    .addHelpText("after", AFTER_HELP)
    .action((flags: ScanFlags, command: Command) =>
      perform(cli, command, async ({ output, globals }) => {
        const { address: addresses = DEFAULT_GRPC_ADDRESSES, ...rest } = flags;
        await runScanWorker({ ...rest, addresses, apiKey: globals.apiKey, caFile: globals.ca, output });
        return EXIT.ok;
      }),
    );
}
