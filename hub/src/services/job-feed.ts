/** Whoever tells other hubs. */
export interface JobFeedHooks {
  readonly changed?: (jobId: string) => void;
  /** Whether anybody watches here. */
  readonly watching?: (isWatching: boolean) => void;
}

const tellAllSpacingMs = 1_000;

/** Tells watchers that a job changed, so that they read on in the ledger. Only a hint: it holds no facts. */
export class JobFeed {
  readonly #watchers = new Map<string, Set<(jobId: string) => void>>();
  readonly #hooks: JobFeedHooks;
  #telling: NodeJS.Timeout | undefined;
  #toldAllAtMs = Number.NEGATIVE_INFINITY;

  constructor(hooks: JobFeedHooks = {}) {
    this.#hooks = hooks;
  }

  /** Calls back for each change of the jobs until the returned function is called. */
  subscribe(jobIds: readonly string[], listener: (jobId: string) => void): () => void {
    for (const jobId of jobIds) {
      const set = this.#watchers.get(jobId);
      if (set) set.add(listener);
      else this.#watchers.set(jobId, new Set([listener]));
    }
    this.#hooks.watching?.(true);
    return () => {
      for (const jobId of jobIds) {
        const set = this.#watchers.get(jobId);
        set?.delete(listener);
        if (set?.size === 0) this.#watchers.delete(jobId);
      }
      if (this.#watchers.size === 0) this.#hooks.watching?.(false);
    };
  }

  /** This hub changed the job. */
  changed(jobId: string): void {
    this.#hooks.changed?.(jobId);
    this.changedElsewhere(jobId);
  }

  changedElsewhere(jobId: string): void {
    if (this.#watchers.size === 0) return;
    for (const listener of this.#watchers.get(jobId) ?? []) listener(jobId);
  }
  /** Any job may have changed; told in one go to everybody, and seldom enough not to be a burden. */
  anyChangedElsewhere(): void {
    if (this.#telling) return;
    const waitMs = Math.max(this.#toldAllAtMs + tellAllSpacingMs - performance.now(), 0);
    this.#telling = setTimeout(() => {
      this.#telling = undefined;
      this.#toldAllAtMs = performance.now();
      for (const jobId of [...this.#watchers.keys()]) this.changedElsewhere(jobId);
    }, waitMs);
  }

  stop(): void {
    clearTimeout(this.#telling);
  }
}
