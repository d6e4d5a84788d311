import { createServer } from "node:net";
import { ConnectError } from "@connectrpc/connect";
import { errorInfoOf } from "./call-error.js";
import { CliError, usageError } from "./cli-error.js";
import { connect } from "./connection.js";
import { EXIT } from "./exit-codes.js";

/** Refuses to start where something listens already, and says what it is. */
export async function requireFreePorts(grpcListen: string, httpListen: string): Promise<void> {
  for (const listen of [httpListen, grpcListen]) {
    const { host, port } = splitAddress(listen);
    if (port !== 0 && !(await isFree(host, port))) {
      throw (await isHub(httpListen)) ? hubRunsAlready(httpListen) : portTaken(listen, port);
    }
  }
}

/** Whether this process could listen there. */
export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE"
        ? resolve(false)
        : reject(
            usageError(`Nothing can listen on ${host}:${port}: ${error.message}.`, "Choose another address."),
          ),
    );
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Whether what listens there answers as a hub does, with its status or a refusal of its own. */
async function isHub(httpListen: string): Promise<boolean> {
  try {
    await connect({ hubUrl: `http://${httpListen}` }).fleet.getStatus({}, { timeoutMs: 3_000 });
    return true;
  } catch (error) {
    return error instanceof ConnectError && errorInfoOf(error) !== undefined;
  }
}

/** Host and port of an address that the hub's configuration accepted; IPv6 without its brackets. */
function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
}

const OTHER_PLACE = "--grpc-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --data-dir .holdfast-2";

function hubRunsAlready(httpListen: string): CliError {
  return new CliError(`A Holdfast hub runs already at http://${httpListen}.`, {
    exitCode: EXIT.refused,
    reason: "HUB_RUNS_ALREADY",
    next: `Use it (\`holdfast status\`), stop it (Ctrl-C where it runs), or run a second one: ${OTHER_PLACE}`,
  });
}

function portTaken(listen: string, port: number): CliError {
  return new CliError(`Another program listens on ${listen}.`, {
    exitCode: EXIT.refused,
    reason: "PORT_TAKEN",
    next: `See which (\`lsof -i :${port}\`), or choose other ports: --grpc-listen, --http-listen.`,
  });
}
