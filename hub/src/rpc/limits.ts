/** The limits that the edge checks messages against; each is configuration. */
export interface EdgeLimits {
  readonly payloadBytesMax: number;
  readonly resultBytesMax: number;
  readonly checkpointBytesMax: number;
  readonly effectResultBytesMax: number;
  readonly batchJobsMax: number;
  readonly signalBytesMax: number;
  readonly creditJobsMax: number;
  readonly creditBytesMax: number;
  readonly sessionTtlMs: number;
  readonly heartbeatIntervalMs: number;
}

/** What either port reads or writes as one message: above every limit that is checked and answered by name. */
export const messageBytesMax = 128 << 20;

export const reportResultsMax = 1_000;
export const heldLeasesMax = 100_000;
/** Children that one call can submit. */
export const childrenPerCallMax = 1_000;
export const dagNodesMax = 10_000;
export const unaryLeasesMax = 1_000;
export const unaryBytesMax = 64 << 20;

export const publishSignalsMax = 1_000;
export const publishBytesMax = 1 << 20;
export const publishWindow = { signals: 10_000, bytes: 8 << 20 } as const;
export const signalCreditMax = { signals: 1_000_000, bytes: 1 << 30 } as const;

export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;
