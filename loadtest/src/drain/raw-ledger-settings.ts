/** Batches as a busy hub makes them. */
export const rawLedgerSettings = { batchJobs: 512, batchesInFlight: 3 } as const;
