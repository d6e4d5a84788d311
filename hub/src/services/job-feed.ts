/** Tells watchers that a job changed, so that they read on in the ledger. Only a hint: it holds no facts. */
export class JobFeed {
  readonly #watchers = new Map<string, Set<(jobId: string) => void>>();

  /** Calls back for each change of the jobs until the returned function is called. */
  subscribe(jobIds: readonly string[], listener: (jobId: string) => void): () => void {
    for (const jobId of jobIds) {
      const set = this.#watchers.get(jobId);
      if (set) set.add(listener);
      else this.#watchers.set(jobId, new Set([listener]));
    }
    return () => {
      for (const jobId of jobIds) {
        const set = this.#watchers.get(jobId);
        set?.delete(listener);
        if (set?.size === 0) this.#watchers.delete(jobId);
      }
    };
  }

  changed(jobId: string): void {
    if (this.#watchers.size === 0) return;
    for (const listener of this.#watchers.get(jobId) ?? []) listener(jobId);
  }
}
