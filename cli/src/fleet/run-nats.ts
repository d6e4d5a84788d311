import { startNatsServers } from "@holdfast/hub/nats-server";
import { CliError, usageError } from "../cli-error.js";
import { EXIT } from "../exit-codes.js";
import type { Output } from "../output.js";
import { tellParent } from "../parent.js";
import { listenForShutdown } from "../shutdown.js";

/** Runs NATS servers until it is asked to stop. */
export async function runNats(
  { servers, folder }: { readonly servers: number; readonly folder: string },
  output: Output,
): Promise<void> {
  requireServersCount(servers);
  const shutdown = listenForShutdown();
  try {
    const nats = await startNatsServers({
      folder,
      serversCount: servers,
      log: (line) => output.line(line),
    }).catch((cause: Error) => {
      throw new CliError(cause.message, { exitCode: EXIT.refused, reason: "CANNOT_OPEN", cause });
    });
    output.item({ event: "listening", url: nats.url });
    output.line(`NATS at ${nats.url}, data in ${folder}`);
    tellParent({ type: "nats", url: nats.url });
    await shutdown.requested;
    await nats.stop();
    output.item({ event: "stopped" });
    output.line("stopped");
  } finally {
    shutdown.dispose();
  }
}

/** A cluster of two or four tolerates no more than one of one or three. */
export function requireServersCount(servers: number): void {
  if (servers === 2 || servers === 4) {
    throw usageError(`${servers} NATS servers are no cluster.`, "Choose 1, 3 or 5.");
  }
}
