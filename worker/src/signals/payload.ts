/** Text, bytes, or a value that is sent as JSON. Each gets the fitting content type. */
export type SignalPayload = string | Uint8Array | object;

export function encodePayload(payload: SignalPayload): { payload: Uint8Array | string; contentType: string } {
  if (payload instanceof Uint8Array) return { payload, contentType: "application/octet-stream" };
  if (typeof payload === "string") return { payload, contentType: "text/plain; charset=utf-8" };
  return { payload: JSON.stringify(payload), contentType: "application/json" };
}
