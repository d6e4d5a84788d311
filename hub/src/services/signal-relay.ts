import type { Peers } from "./peers.js";

/** Commits wait this long for others to be told with them. */
const gatherMs = 2;
const channelIdsMax = 1_000;

/** Tells other hubs in which channels this one stored signals, so that who follows there need not wait for a look. */
export class SignalRelay {
  readonly #peers: Pick<Peers, "count" | "signalsStored">;
  readonly #channelIds = new Set<number>();
  #gathering: NodeJS.Timeout | undefined;

  constructor(peers: Pick<Peers, "count" | "signalsStored">) {
    this.#peers = peers;
  }

  stored(channelId: number): void {
    if (this.#peers.count === 0) return;
    this.#channelIds.add(channelId);
    this.#gathering ??= setTimeout(() => this.#send(), gatherMs);
  }

  stop(): void {
    clearTimeout(this.#gathering);
    this.#channelIds.clear();
  }

  #send(): void {
    this.#gathering = undefined;
    const channelIds = [...this.#channelIds];
    this.#channelIds.clear();
    for (let at = 0; at < channelIds.length; at += channelIdsMax)
      this.#peers.signalsStored(channelIds.slice(at, at + channelIdsMax));
  }
}
