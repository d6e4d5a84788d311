import { describeConfig, type HubOptions } from "@holdfast/hub/config";
import type { Command } from "commander";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { hubFailure } from "../hub-failure.js";
import { addHubOptions, configJson, readConfig } from "../hub-options.js";
import { type Cli, type Invocation, perform } from "../invocation.js";
import { tellParent } from "../parent.js";
import { listenForShutdown } from "../shutdown.js";

const AFTER_HELP = `
Ctrl-C or SIGTERM stops it gracefully: workers are told to attach elsewhere, what was begun is committed, and an
embedded PostgreSQL is shut down. A second one ends it at once; nothing that was answered is lost.

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
  output.line(describeConfig(config).join("\n"));
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
    output.line(`Listening on ${grpcAddress} (gRPC) and ${httpAddress} (HTTP).`);
    tellParent({ type: "listening", grpcAddress, httpAddress });
    try {
      await Promise.race([shutdown.requested, hub.failed]);
    } finally {
      await hub.stop("asked to stop");
    }
    output.item({ event: "stopped" });
    output.line("Stopped.");
    return EXIT.ok;
  } catch (error) {
    throw hubFailure(error);
  } finally {
    shutdown.dispose();
  }
}
