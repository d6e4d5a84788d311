import type { HubOptions } from "@holdfast/hub/config";
import type { Command } from "commander";
import { wholeNumber } from "../arguments/number.js";
import { EXIT } from "../exit-codes.js";
import { addHubOptions, readConfig } from "../hub-options.js";
import { type Cli, perform } from "../invocation.js";

const AFTER_HELP_UP = `
Starts PostgreSQL, a cluster of NATS, hubs that share both, and workers that know all hubs; scans the installed
packages of DIR with one job each, and stays up. While it does, a line with the letter r rolls the hubs: each is
stopped in order and started again, one after the other, and no lease is lost. Ctrl-C stops workers, hubs, PostgreSQL
and NATS, in this order. The second hub listens two ports above the first, and so on.

Examples:
  $ holdfast fleet up
  $ holdfast fleet up --scans 20000 --roll --once            # roll every hub in the midst of it, then stop
  $ holdfast fleet up --hubs 2 --workers 4 --nats-servers 1
  $ holdfast sessions                                        # in another terminal: which hub holds whom`;

const AFTER_HELP_NATS = `
Servers on 127.0.0.1 with JetStream on files, for a fleet on one machine. A nats-server that is on the PATH is used;
otherwise one is installed for this user.

Examples:
  $ holdfast fleet nats --servers 3 --folder .holdfast/nats`;

interface UpFlags extends HubOptions {
  readonly hubs: number;
  readonly natsServers: number;
  readonly workers: number;
  readonly concurrency?: number;
  readonly scans?: number;
  readonly roll?: boolean;
  readonly once?: boolean;
}

export function addFleetCommand(program: Command, cli: Cli): void {
  const fleet = program.command("fleet").description("run several hubs on this machine, to try a fleet");

  const up = fleet.command("up").description("start PostgreSQL, NATS, several hubs and workers");
  addHubOptions(up, ["dataDir", "grpcListen", "httpListen"])
    .argument("[dir]", "project whose installed packages are scanned", ".")
    .option("--hubs <hubs>", "hub processes", wholeNumber(1, 16), 3)
    .option("--nats-servers <servers>", "servers of the NATS cluster: 0, 1, 3 or 5", wholeNumber(0, 5), 3)
    .option("--workers <workers>", "worker processes", wholeNumber(1, 64), 3)
    .option("--concurrency <jobs>", "jobs at the same time in each worker", wholeNumber(1, 1_000))
    .option("--scans <scans>", "jobs in all (default: one for each package)", wholeNumber(1, 1_000_000))
    .option("--roll", "roll the hubs one by one while the jobs run")
    .option("--once", "stop everything after the scans")
    .addHelpText("after", AFTER_HELP_UP)
    .action((directory: string, flags: UpFlags, ran: Command) =>
      perform(cli, ran, async (invocation) => {
        const { runFleet } = await import("../fleet/run-fleet.js");
        const { dataDir, grpcListen, httpListen } = readConfig(flags, invocation.io);
        const { hubs, natsServers, workers, concurrency, scans, roll = false, once = false } = flags;
        const counts = { hubs, natsServers, workers, concurrency, scans };
        return runFleet({ directory, ...counts, roll, once, dataDir, grpcListen, httpListen }, invocation);
      }),
    );

  fleet
    .command("nats")
    .description("run NATS servers on this machine")
    .option("--servers <servers>", "1, or a cluster of 3 or 5", wholeNumber(1, 5), 1)
    .option("--folder <directory>", "where configuration, logs and data are kept", ".holdfast/nats")
    .addHelpText("after", AFTER_HELP_NATS)
    .action((flags: { readonly servers: number; readonly folder: string }, ran: Command) =>
      perform(cli, ran, async ({ output }) => {
        const { runNats } = await import("../fleet/run-nats.js");
        await runNats(flags, output);
        return EXIT.ok;
      }),
    );
}
