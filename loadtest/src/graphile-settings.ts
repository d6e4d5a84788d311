/**
 * The configuration that graphile-worker's own performance page gives for its best figures: a local queue and
 * batched completion (https://worker.graphile.org/docs/performance).
 */
export const graphileSettings = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
} as const;
