// Messages as JSON. What comes is checked field by field: another version, or another program, may have sent it.
import { isUuid } from "../domain/uuid.js";
import type { BusMessage, ConfigPart, SessionLease } from "./bus.js";

export function encodeBusMessage(message: BusMessage): string {
  return JSON.stringify(message, (_, value) => (typeof value === "bigint" ? String(value) : value));
}

/** null: no message that this version knows. */
export function decodeBusMessage(text: string): BusMessage | null {
  try {
    const fields = JSON.parse(text) as Record<string, unknown>;
    const type = fields.type as BusMessage["type"];
    return Object.hasOwn(readers, type) ? readers[type](fields) : null;
  } catch {
    return null;
  }
}

const configParts: readonly unknown[] = ["keys", "gates", "products"] satisfies ConfigPart[];

type Fields = Readonly<Record<string, unknown>>;

const readers: { readonly [Type in BusMessage["type"]]: (fields: Fields) => BusMessage | null } = {
  here: ({ hub, isWatching }) =>
    isText(hub) && typeof isWatching === "boolean" ? { type: "here", hub, isWatching } : null,
  drain: ({ hub }) => (isText(hub) ? { type: "drain", hub } : null),
  revoke: ({ leases }) => {
    const read = Array.isArray(leases) ? leases.map(readLease) : [null];
    return read.every((lease) => lease !== null) ? { type: "revoke", leases: read } : null;
  },
  jobs_changed: ({ jobIds }) => (isListOf(jobIds, isId) ? { type: "jobs_changed", jobIds } : null),
  any_job_changed: () => ({ type: "any_job_changed" }),
  wake: ({ laneIds }) => (isListOf(laneIds, isCount) ? { type: "wake", laneIds } : null),
  signals_stored: ({ channelIds }) =>
    isListOf(channelIds, isCount) ? { type: "signals_stored", channelIds } : null,
  key_revoked: ({ keyId }) => (isText(keyId) ? { type: "key_revoked", keyId } : null),
  config_changed: ({ what }) =>
    configParts.includes(what) ? { type: "config_changed", what: what as ConfigPart } : null,
};

function readLease(given: unknown): SessionLease | null {
  const { sessionId, jobId, fencingToken, reason, graceMs, message } = given as Fields;
  if (!isId(sessionId) || !isId(jobId) || !isSpan(graceMs) || typeof message !== "string") return null;
  if (reason !== "cancelled" && reason !== "deadline" && reason !== "preempted") return null;
  if (!isText(fencingToken) || !/^\d{1,19}$/.test(fencingToken)) return null;
  return { sessionId, jobId, fencingToken: BigInt(fencingToken), reason, graceMs, message };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isId(value: unknown): value is string {
  return typeof value === "string" && isUuid(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isSpan(value: unknown): value is number {
  return Number.isFinite(value) && (value as number) >= 0;
}

function isListOf<Item>(value: unknown, isItem: (item: unknown) => item is Item): value is Item[] {
  return Array.isArray(value) && value.every(isItem);
}
