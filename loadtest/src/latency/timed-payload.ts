/** What a job of the latency benchmark carries: which it is, and when its submit call was made. */
export interface TimedPayload {
  readonly sequence: number;
  /** By the clock of wall-clock.ts. */
  readonly sentAtMs: number;
  readonly text: string;
}

/** Filled up to so many bytes. */
export function timedPayload(sequence: number, sentAtMs: number, bytes: number): TimedPayload {
  const bare: TimedPayload = { sequence, sentAtMs, text: "" };
  return { ...bare, text: "x".repeat(bytes - JSON.stringify(bare).length) };
}

/** The most that a payload takes without filling. */
export const timedPayloadBytesMin = 100;
