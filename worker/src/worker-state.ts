/** Where a worker's connection is. The transitions are drawn in session/supervisor.ts. */
export type WorkerState =
  /** No connection yet to the hub at `address`. */
  | { readonly name: "connecting"; readonly address: string }
  /** Connected; waiting for the hub's welcome. */
  | { readonly name: "attaching"; readonly address: string }
  /** Leases come in, results go out. */
  | {
      readonly name: "live";
      readonly address: string;
      readonly sessionId: string;
      readonly isResumed: boolean;
    }
  /** Attached, but no new leases: this worker, or this hub, is leaving. */
  | { readonly name: "draining"; readonly address: string; readonly leaving: "worker" | "hub" }
  /** Not connected; the next attempt is made after `delayMs`. Handlers go on. */
  | { readonly name: "backing-off"; readonly delayMs: number; readonly because: string }
  | { readonly name: "closed" };
