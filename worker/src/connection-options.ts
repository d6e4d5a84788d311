import type { HubAccess, TlsAccess } from "./grpc/hub-channel.js";
import { formed, isRecord, type Problem, show } from "./option-check.js";

/** How to reach the hub, for workers and clients alike. */
export type ClientOptions = {
  /** "host:port" of the hub. Default: the environment variable HOLDFAST_ADDRESS, several separated by commas. */
  readonly address?: string | readonly string[];
  /** The hubs of a fleet, 1 to 64, instead of `address`. Each process goes round them in an order of its own. */
  readonly addresses?: readonly string[];
  /** Default: the environment variable HOLDFAST_API_KEY; without one, none is sent. */
  readonly apiKey?: string;
  /** Encrypt the connection. `true` trusts the system's certificates, `ca` those given, in PEM. Default: plain. */
  readonly tls?: boolean | { readonly ca?: string | Uint8Array };
};

const addressForm = /^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):([0-9]{1,5})$/;
const addressRule = 'an address such as "127.0.0.1:7420", without a scheme';
const addressesMax = 64;
const addressVariable = "HOLDFAST_ADDRESS";

export function problemsOfAccess(options: ClientOptions, env: NodeJS.ProcessEnv): Problem[] {
  const { apiKey, tls } = options;
  return [
    ...problemsOfAddresses(options, env),
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

function problemsOfAddresses({ address, addresses }: ClientOptions, env: NodeJS.ProcessEnv): Problem[] {
  if (addresses !== undefined && address !== undefined) {
    return [{ field: "addresses", rule: "given without address", given: "both" }];
  }
  if (addresses !== undefined) return problemsOfList("addresses", addresses);
  if (Array.isArray(address)) return problemsOfList("address", address);
  if (address !== undefined || !env[addressVariable]) {
    return formed("address", address, isAddress, addressRule, true);
  }
  return problemsOfList(addressVariable, splitAddresses(env[addressVariable]));
}

function problemsOfList(field: string, list: unknown): Problem[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > addressesMax) {
    return [{ field, rule: `1 to ${addressesMax} addresses`, given: show(list) }];
  }
  return list.flatMap((item, i) => formed(`${field}[${i}]`, item, isAddress, addressRule, true));
}

/** Addresses as a list separated by commas. */
function splitAddresses(text: string): string[] {
  return text.split(",").map((address) => address.trim());
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
export function readAccess(options: ClientOptions, env: NodeJS.ProcessEnv): HubAccess {
  const { apiKey, tls } = options;
  const given = options.addresses ?? options.address ?? splitAddresses(env[addressVariable] ?? "");
  return {
    addresses: typeof given === "string" ? [given] : [...given],
    apiKey: apiKey ?? (env.HOLDFAST_API_KEY || undefined),
    tls: readTls(tls),
  };
}

function readTls(tls: ClientOptions["tls"]): TlsAccess | undefined {
  if (tls === undefined || tls === false) return undefined;
  const ca = tls === true ? undefined : tls.ca;
  return { ca: ca === undefined ? undefined : pem(ca) };
}
