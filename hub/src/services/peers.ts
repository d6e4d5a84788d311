// The other hubs on the bus: which are there, and what they are told.
//
// Hubs say that they are there every second and are forgotten after a few silent ones. So a hub that is alone sends
// next to nothing, and changes of jobs are told only while somebody watches elsewhere.
import type { Bus, BusMessage, ConfigPart, SessionLease } from "../bus/bus.js";
import type { RevokedLease } from "./session-messages.js";

interface Peer {
  readonly isWatching: boolean;
  readonly heardAtMs: number;
}

const hereIntervalMs = 1_000;
const forgetAfterMs = 3_500;
const peersMax = 1_000;
const leasesPerMessageMax = 100;
/** What is said to people about a revoke is cut to this. */
const messageCharsMax = 500;

export class Peers {
  readonly #bus: Bus;
  readonly #hub: string;
  readonly #peers = new Map<string, Peer>();
  #isWatching = false;
  #areOthersWatching = false;
  #revokes: SessionLease[] = [];
  #saying: NodeJS.Timeout | undefined;

  /** @param hub tells this life of a hub from all others on the bus */
  constructor(bus: Bus, hub: string) {
    this.#bus = bus;
    this.#hub = hub;
    bus.onMessage((message) => this.#hear(message));
    bus.onResumed(() => this.#sayHere());
  }

  start(): void {
    this.#sayHere();
    this.#saying = setInterval(() => {
      this.#forgetSilent();
      this.#sayHere();
    }, hereIntervalMs);
  }

  /** Says goodbye, once. */
  stop(): void {
    if (this.#saying === undefined) return;
    clearInterval(this.#saying);
    this.#saying = undefined;
    this.#bus.publish({ type: "drain", hub: this.#hub });
  }

  get count(): number {
    return this.#peers.size;
  }

  /** Whether some other hub has watchers. */
  get areWatching(): boolean {
    return this.#areOthersWatching;
  }

  /** Whether this hub has watchers; the others are told at once. */
  watching(isWatching: boolean): void {
    if (isWatching === this.#isWatching) return;
    this.#isWatching = isWatching;
    if (this.#saying !== undefined) this.#sayHere();
  }

  jobsChanged(jobIds: readonly string[]): void {
    this.#tell({ type: "jobs_changed", jobIds });
  }

  anyJobChanged(): void {
    this.#tell({ type: "any_job_changed" });
  }

  keyRevoked(keyId: string): void {
    this.#tell({ type: "key_revoked", keyId });
  }

  configChanged(what: ConfigPart): void {
    this.#tell({ type: "config_changed", what });
  }

  wake(laneIds: readonly number[]): void {
    this.#tell({ type: "wake", laneIds });
  }

  signalsStored(channelIds: readonly number[]): void {
    this.#tell({ type: "signals_stored", channelIds });
  }

  /** A lease of a session that is not here was taken away. Those of one turn of the event loop go together. */
  revoke(sessionId: string, lease: RevokedLease): void {
    if (this.#revokes.length === 0) queueMicrotask(() => this.#sendRevokes());
    this.#revokes.push({ ...lease, sessionId, message: lease.message.slice(0, messageCharsMax) });
  }

  #sendRevokes(): void {
    const leases = this.#revokes;
    this.#revokes = [];
    for (let at = 0; at < leases.length; at += leasesPerMessageMax)
      this.#tell({ type: "revoke", leases: leases.slice(at, at + leasesPerMessageMax) });
  }

  #tell(message: BusMessage): void {
    if (this.#peers.size > 0) this.#bus.publish(message);
  }

  #sayHere(): void {
    this.#bus.publish({ type: "here", hub: this.#hub, isWatching: this.#isWatching });
  }

  #hear(message: BusMessage): void {
    if (message.type === "drain") this.#peers.delete(message.hub);
    if (message.type === "here") {
      const isNew = !this.#peers.has(message.hub);
      if (isNew && this.#peers.size >= peersMax) return;
      this.#peers.set(message.hub, { isWatching: message.isWatching, heardAtMs: performance.now() });
      if (isNew && this.#saying !== undefined) this.#sayHere();
    }
    this.#noteWatching();
  }

  #forgetSilent(): void {
    const since = performance.now() - forgetAfterMs;
    for (const [hub, peer] of this.#peers) if (peer.heardAtMs < since) this.#peers.delete(hub);
    this.#noteWatching();
  }

  #noteWatching(): void {
    this.#areOthersWatching = [...this.#peers.values()].some((peer) => peer.isWatching);
  }
}
