import { resolve } from "node:path";
import { refusalError } from "../call-error.js";
import { CliError, usageError } from "../cli-error.js";
import { readAuthority } from "../connection.js";
import { EXIT } from "../exit-codes.js";
import type { Output } from "../output.js";
import { tellParent } from "../parent.js";
import { listenForShutdown } from "../shutdown.js";
import { ADD_SCANS_KIND, COMPOSE_KIND, SCAN_KIND } from "./scan-job.js";

export interface ScanWorkerOptions {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly concurrency?: number;
  readonly journal?: string;
  /** Where bills of materials are written; without it, none is composed here. */
  readonly sbom?: string;
  readonly tls?: boolean;
  readonly apiKey: string | undefined;
  readonly caFile: string | undefined;
  readonly output: Output;
}

/** Runs a worker with the handlers of a run of scans until it is asked to stop, then drains it. */
export async function runScanWorker(options: ScanWorkerOptions): Promise<void> {
  // Loaded when needed: the SDK brings the gRPC client, which no other command should pay for.
  const sdk = await import("@holdfast/worker");
  const { scanPackage } = await import("./scan-package.js");
  const { addScans } = await import("./add-scans.js");
  const { composeScans } = await import("./compose-scans.js");
  const { output, concurrency, journal, sbom } = options;
  const access = {
    addresses: options.addresses,
    ...(options.apiKey === undefined ? {} : { apiKey: options.apiKey }),
    ...(options.tls === true ? { tls: trust(options.caFile) } : {}),
  };
  const shutdown = listenForShutdown();
  const client = sdk.createClient(access);
  try {
    const worker = sdk.startWorker({
      ...access,
      name: options.name,
      handlers: {
        [SCAN_KIND]: scanPackage,
        [ADD_SCANS_KIND]: (job) => addScans(job, client),
        ...(sbom === undefined ? {} : { [COMPOSE_KIND]: (job) => composeScans(job, client, resolve(sbom)) }),
      },
      handleSignals: false,
      log: ({ level, event, message }) => {
        output.item({ event, level, message });
        output.line(level === "info" ? message : `${level}: ${message}`);
      },
      onSession: (state) => {
        if (state.name === "live") {
          tellParent({ type: "attached", sessionId: state.sessionId });
        }
      },
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(journal === undefined ? {} : { journal }),
    });
    shutdown.requested.then(worker.stop).catch(() => {
      // The same failure ends `done`, which is waited for.
    });
    await worker.done;
    const { committed, failed } = worker.stats();
    output.item({ event: "drained", committed, failed });
    output.line(`drained; ${committed} results committed, ${failed} attempts failed`);
  } catch (error) {
    throw workerFailure(error, sdk);
  } finally {
    client.close();
    shutdown.dispose();
  }
}

function trust(caFile: string | undefined): true | { readonly ca: string } {
  return caFile === undefined ? true : { ca: readAuthority(caFile).toString() };
}

function workerFailure(error: unknown, sdk: typeof import("@holdfast/worker")): unknown {
  if (error instanceof sdk.HoldfastError) {
    return refusalError(error.grpcCode, error, error.message, error);
  }
  if (error instanceof sdk.InvalidOptionsError) {
    return usageError(error.message);
  }
  return error instanceof sdk.JournalLockedError
    ? new CliError(error.message, {
        exitCode: EXIT.refused,
        reason: "JOURNAL_LOCKED",
        next: "Give this worker another --name or --journal, or stop the other one.",
        cause: error,
      })
    : error;
}
