/**
 * The bus port: short-lived messages from one hub to all others that are there now.
 *
 * A message may be lost, and nothing may depend on it: the bus only makes fast what every hub finds in the ledger by
 * itself a little later. After a time in which messages may have been lost, `onResumed` says so, and hubs look at once.
 * Adapters pass one conformance suite.
 */
export interface Bus {
  /** Sends to every other hub. False when it was dropped for sure; true promises nothing. */
  publish(message: BusMessage): boolean;
  /** Calls back for each message of another hub. */
  onMessage(listener: (message: BusMessage) => void): void;
  /** Calls back when messages arrive again after a time when they may not have. */
  onResumed(listener: () => void): void;
  close(): Promise<void>;
}

export type BusMessage =
  /** This hub is there; sent now and then. Hubs that nobody hears are forgotten. */
  | { readonly type: "here"; readonly hub: string; readonly isWatching: boolean }
  /** This hub is leaving: nothing need be sent to it any more. */
  | { readonly type: "drain"; readonly hub: string }
  /** Leases that were taken away; the hub that has the session tells its worker. */
  | { readonly type: "revoke"; readonly leases: readonly SessionLease[] }
  /** Jobs whose watchers should read on. */
  | { readonly type: "jobs_changed"; readonly jobIds: readonly string[] }
  /** More jobs than fit into messages: any watcher may have to read on. */
  | { readonly type: "any_job_changed" }
  /** There is work, or may be soon, in these lanes; some may be new. */
  | { readonly type: "wake"; readonly laneIds: readonly number[] }
  /** Signals were stored in these channels. */
  | { readonly type: "signals_stored"; readonly channelIds: readonly number[] }
  | { readonly type: "key_revoked"; readonly keyId: string }
  /** Something that hubs keep a copy of was changed in the ledger. */
  | { readonly type: "config_changed"; readonly what: ConfigPart };

/**
 * What of the configuration in the ledger hubs remember. `keys`: whether there are any. `gates`: all of them.
 * `products`: what is set for them.
 */
export type ConfigPart = "keys" | "gates" | "products";

export interface SessionLease {
  readonly sessionId: string;
  readonly jobId: string;
  readonly fencingToken: bigint;
  readonly reason: "cancelled" | "deadline" | "preempted";
  /** 0: the lease is gone. */
  readonly graceMs: number;
  readonly message: string;
}

/** What an adapter counts. */
export interface BusObserver {
  readonly sent: (type: BusMessage["type"]) => void;
  readonly dropped: (type: BusMessage["type"]) => void;
  readonly received: (type: BusMessage["type"]) => void;
  /** Came, and is no message that this version knows; it was ignored. */
  readonly malformed: () => void;
}

/** Bytes of a message on its way; larger ones are dropped. */
export const busMessageBytesMax = 256 * 1024;
