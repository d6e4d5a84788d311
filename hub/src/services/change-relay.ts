import type { Peers } from "./peers.js";

/** Changes wait this long for others to go with them. */
const gatherMs = 5;
const jobIdsMax = 2_000;

/**
 * Tells watchers on other hubs of jobs that changed here, many at a time. When more change at once than a message holds,
 * they are told that any job may have.
 */
export class ChangeRelay {
  readonly #peers: Pick<Peers, "areWatching" | "jobsChanged" | "anyJobChanged">;
  readonly #jobIds = new Set<string>();
  #gathering: NodeJS.Timeout | undefined;

  constructor(peers: Pick<Peers, "areWatching" | "jobsChanged" | "anyJobChanged">) {
    this.#peers = peers;
  }

  changed(jobId: string): void {
    if (!this.#peers.areWatching) return;
    // One more than fits is enough to know that they do not.
    if (this.#jobIds.size <= jobIdsMax) this.#jobIds.add(jobId);
    this.#gathering ??= setTimeout(() => this.#send(), gatherMs);
  }

  stop(): void {
    clearTimeout(this.#gathering);
    this.#jobIds.clear();
  }

  #send(): void {
    this.#gathering = undefined;
    if (this.#jobIds.size > jobIdsMax) this.#peers.anyJobChanged();
    else this.#peers.jobsChanged([...this.#jobIds]);
    this.#jobIds.clear();
  }
}
