/**
 * pg-boss as its documentation has it for throughput: jobs fetched and completed in batches, without sorting by a
 * priority that no job has. Its maintenance runs with its defaults.
 */
export const pgBossSettings = {
  /** Jobs of one `fetch`, and of the `complete` after it. */
  batchJobs: 500,
  /** Loops of fetch and complete, each on a connection of the pool. */
  loops: 2,
} as const;
