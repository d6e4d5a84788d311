/** The kind of every job here, and graphile-worker's name of the task. */
export const benchKind = "bench";

const emptyBytes = JSON.stringify({ text: "" }).length;

/** A JSON object of exactly so many bytes: what every contestant carries, whatever it stores it as. */
export function payloadOf(bytes: number): { readonly text: string } {
  return { text: "x".repeat(bytes - emptyBytes) };
}

export const payloadBytesMin = emptyBytes;
