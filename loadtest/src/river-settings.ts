/**
 * River with what its own benchmark (`river bench`) sets: fetches 2 ms apart at most, 2,000 workers. Its completer
 * batches by default. peers/river/main.go gets these figures.
 */
export const riverSettings = {
  version: "0.51.1",
  maxWorkers: 2_000,
  fetchCooldownMs: 2,
  fetchPollIntervalMs: 20,
} as const;
