import type { HubAccess, TlsAccess } from "./grpc/hub-channel.js";
import { formed, isRecord, type Problem, show } from "./option-check.js";

/** How to reach the hub, for workers and clients alike. */
export type ClientOptions = {
  /** "host:port", or a list of them: when one cannot be reached the next is tried. */
  readonly address: string | readonly string[];
  /** Default: the environment variable HOLDFAST_API_KEY; without one, none is sent. */
  readonly apiKey?: string;
  /** Encrypt the connection. `true` trusts the system's certificates, `ca` those given, in PEM. Default: plain. */
  readonly tls?: boolean | { readonly ca?: string | Uint8Array };
};

const addressForm = /^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):([0-9]{1,5})$/;
const addressRule = 'an address such as "127.0.0.1:7420", without a scheme';
const addressesMax = 64;

export function problemsOfAccess({ address, apiKey, tls }: ClientOptions): Problem[] {
  return [
    ...problemsOfAddress(address),
    ...formed(
      "apiKey",
      apiKey,
      (value) => typeof value === "string" && /^[\x21-\x7e]+$/.test(value),
      "printable ASCII",
    ).map(
      // What was given is a secret, even when it is wrong.
      (problem) => ({
        ...problem,
        given: typeof apiKey === "string" ? "other characters, or none" : problem.given,
      }),
    ),
    ...formed("tls", tls, isTls, 'true, false or { ca: "-----BEGIN CERTIFICATE-----..." }'),
  ];
}

function problemsOfAddress(address: unknown): Problem[] {
  if (!Array.isArray(address)) return formed("address", address, isAddress, addressRule, true);
  if (address.length === 0 || address.length > addressesMax) {
    return [{ field: "address", rule: `1 to ${addressesMax} addresses`, given: show(address) }];
  }
  return address.flatMap((item, i) => formed(`address[${i}]`, item, isAddress, addressRule, true));
}

function isAddress(value: unknown): boolean {
  const port = typeof value === "string" ? addressForm.exec(value)?.[2] : undefined;
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}

function isTls(value: unknown): boolean {
  if (typeof value === "boolean") return true;
  if (!isRecord(value) || Object.keys(value).some((key) => key !== "ca")) return false;
  const { ca } = value;
  return ca === undefined || pem(ca as string | Uint8Array).includes("-----BEGIN CERTIFICATE-----");
}

function pem(ca: string | Uint8Array): string {
  return typeof ca === "string" ? ca : Buffer.from(ca).toString("latin1");
}

/** Reads checked options; what is absent comes from the environment. */
export function readAccess({ address, apiKey, tls }: ClientOptions, env: NodeJS.ProcessEnv): HubAccess {
  return {
    addresses: typeof address === "string" ? [address] : [...address],
    apiKey: apiKey ?? (env.HOLDFAST_API_KEY || undefined),
    tls: readTls(tls),
  };
}

function readTls(tls: ClientOptions["tls"]): TlsAccess | undefined {
  if (tls === undefined || tls === false) return undefined;
  const ca = tls === true ? undefined : tls.ca;
  return { ca: ca === undefined ? undefined : pem(ca) };
}
