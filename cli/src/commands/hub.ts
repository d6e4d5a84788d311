import type { HubOptions } from "@holdfast/hub/config";
import type { Command } from "commander";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { hubFailure } from "../hub-failure.js";
import { addHubOptions, configJson, readConfig } from "../hub-options.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { tellParent } from "../parent.js";
import { listenForShutdown } from "../shutdown.js";
import { requireFreePorts } from "../who-listens.js";

const AFTER_HELP = `
Ctrl-C or SIGTERM stops it gracefully: workers are told to attach elsewhere, what was begun is committed, and
an embedded PostgreSQL is shut down. A second one ends it at once; nothing that was answered is lost.

Examples:
  $ holdfast hub
  $ holdfast hub --database-url postgres://holdfast@db.example/holdfast --grpc-listen 0.0.0.0:7420 \\
      --tls-cert hub.crt --tls-key hub.key
  $ holdfast hub --grpc-listen 127.0.0.1:0 --http-listen 127.0.0.1:0     # any free ports`;

export function addHubCommand(program: Command, cli: Cli): void {
  addHubOptions(program.command("hub").description("run a hub"))
    .addHelpText("after", AFTER_HELP)
    .action((flags: HubOptions, command: Command) =>
      perform(cli, command, (invocation) => runHub(flags, invocation)),
    );
}

async function runHub(flags: HubOptions, { io, output }: Invocation): Promise<ExitCode> {
  const config = readConfig(flags, io);
  output.item({ event: "config", config: configJson(config) });
  await requireFreePorts(config.grpcListen, config.httpListen);
  const say = (line: string) => {
    output.item({ event: "log", line });
    output.line(line);
  };
  // Loaded when needed: nothing else of this command should pay for a server.
  const { startHub } = await import("@holdfast/hub/main");
  const shutdown = listenForShutdown();
  try {
    const hub = await startHub(config, say);
    const { grpcAddress, httpAddress } = hub;
    output.item({ event: "listening", grpcAddress, httpAddress });
    tellParent({ type: "listening", grpcAddress, httpAddress });
    await shutdown.requested;
    await hub.stop("asked to");
    output.item({ event: "stopped" });
    return EXIT.ok;
  } catch (error) {
    throw shutdown.signal.aborted ? shutdown.signal.reason : hubFailure(error);
  } finally {
    shutdown.dispose();
  }
}
