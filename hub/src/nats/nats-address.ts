import type { NodeConnectionOptions } from "@nats-io/transport-node";

/** Where NATS is and as whom: what a client needs to connect. */
export type NatsAddress = Pick<NodeConnectionOptions, "servers" | "tls" | "user" | "pass" | "token">;

/**
 * Reads a list such as `nats://user:password@one:4222,nats://two`. Servers of one cluster share their accounts, so the
 * credentials of the first that has any are used for all; one `tls://` asks for TLS at all of them.
 */
export function readNatsAddress(text: string): NatsAddress {
  const urls = text.split(",").map((one) => new URL(one));
  const known = urls.find((url) => url.username !== "");
  return {
    servers: urls.map((url) => `${url.hostname}:${url.port || "4222"}`),
    ...(urls.some((url) => url.protocol === "tls:") && { tls: {} }),
    ...(known && credentialsOf(known)),
  };
}

function credentialsOf(url: URL): NatsAddress {
  const name = decodeURIComponent(url.username);
  return url.password === "" ? { token: name } : { user: name, pass: decodeURIComponent(url.password) };
}
