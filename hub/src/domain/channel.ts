/** Whose channel it is. Numbers are the ledger's. */
export const OwnerType = { Job: 1, Run: 2, Name: 3 } as const;
export type OwnerType = (typeof OwnerType)[keyof typeof OwnerType];

/** A channel as callers name it within their tenant. */
export interface ChannelName {
  readonly ownerType: OwnerType;
  /** Id of the job or root job, or the free name. */
  readonly owner: string;
  readonly name: string;
}

export interface ChannelPolicy {
  readonly isBestEffort: boolean;
  readonly maxAgeMs: number;
  /** Of one partition. */
  readonly maxBytes: number;
  readonly trimConsumed: boolean;
  readonly trimPastCursors: boolean;
  readonly redeliveriesMax: number;
}

export interface Channel extends ChannelName, ChannelPolicy {
  readonly channelId: number;
  readonly tenantId: number;
  readonly partitions: number;
  readonly createdAtMs: number;
}

/** What one partition holds. */
export interface ChannelHead {
  readonly channelId: number;
  readonly partition: number;
  /** One more than lastSequence when nothing is held. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly heldBytes: number;
}

export const partitionsMax = 64;

export const defaultPolicy: ChannelPolicy = {
  isBestEffort: false,
  maxAgeMs: 7 * 86_400_000,
  maxBytes: 1 << 30,
  trimConsumed: false,
  trimPastCursors: false,
  redeliveriesMax: 5,
};

/** Where signals go that a consumer gave up. */
export function deadLetterName(name: string): string {
  return `${name.slice(0, 123)}.dead`;
}

/** The partition of a key. It must never change: a key whose partition moved would lose its order. */
export function partitionOf(key: string, partitions: number): number {
  return partitions === 1 || key === "" ? 0 : partitionHash(key) % partitions;
}

/** FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) over the UTF-16 code units of a text, in 32 bits. */
export function partitionHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
