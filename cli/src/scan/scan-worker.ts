import { readAuthority } from "../connection.js";
import type { Output } from "../output.js";
import { tellParent } from "../parent.js";
import { listenForShutdown } from "../shutdown.js";
import { SCAN_KIND } from "./scan-job.js";

export interface ScanWorkerOptions {
  readonly name: string;
  readonly address: string;
  readonly concurrency?: number;
  readonly journal?: string;
  readonly tls?: boolean;
  readonly apiKey: string | undefined;
  readonly caFile: string | undefined;
  readonly output: Output;
}

/** Runs a worker with the scan handler until it is asked to stop, then drains it. */
export async function runScanWorker(options: ScanWorkerOptions): Promise<void> {
  // Loaded when needed: the SDK brings the gRPC client, which no other command should pay for.
  const { startWorker } = await import("@holdfast/worker");
  const { scanPackage } = await import("./scan-package.js");
  const { output, concurrency, journal, apiKey } = options;
  const worker = startWorker({
    address: options.address,
    name: options.name,
    handlers: { [SCAN_KIND]: scanPackage },
    handleSignals: false,
    log: ({ level, event, message }) => {
      output.item({ event, level, message });
      output.line(level === "info" ? message : `${level}: ${message}`);
    },
    onSession: ({ sessionId }) => tellParent({ type: "attached", sessionId }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(journal === undefined ? {} : { journal }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(options.tls === true ? { tls: trust(options.caFile) } : {}),
  });
  const shutdown = listenForShutdown();
  shutdown.signal.addEventListener("abort", () => void worker.stop(), { once: true });
  try {
    await worker.done;
  } finally {
    shutdown.dispose();
  }
}

function trust(caFile: string | undefined): true | { readonly ca: string } {
  return caFile === undefined ? true : { ca: readAuthority(caFile).toString() };
}
