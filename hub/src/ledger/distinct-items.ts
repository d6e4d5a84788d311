/**
 * The items that one statement tries: it can change a row once, so of several items with one key only the first.
 * The key must hold all that the statement compares: an item that cannot match must not stand in for one that can.
 */
export function distinctItems<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): ReadonlyMap<string, Item> {
  const distinct = new Map<string, Item>();
  for (const item of items) {
    const key = keyOf(item);
    if (!distinct.has(key)) distinct.set(key, item);
  }
  return distinct;
}

/**
 * As a statement is to lock them: all that lock several leased jobs do so in this order, for signals are published under
 * leases on any hub, and nobody must wait in a circle.
 */
export function inJobOrder<Item extends { readonly jobId: string }>(items: Iterable<Item>): Item[] {
  return [...items].sort((one, other) => (one.jobId < other.jobId ? -1 : one.jobId > other.jobId ? 1 : 0));
}

/** A lease as those who act for it name it, and as a statement answers which one it changed. */
export function leaseKey(lease: {
  readonly jobId: string;
  readonly sessionId: string;
  readonly fencingToken: bigint | null;
}): string {
  return `${lease.jobId}/${lease.sessionId}/${lease.fencingToken}`;
}

/** The same of a row. */
export interface LeaseRow {
  readonly id: string;
  readonly session_id: string;
  readonly fencing_token: string | null;
}

export function leaseRowKey(row: LeaseRow): string {
  return `${row.id}/${row.session_id}/${row.fencing_token}`;
}

/** A job as those who act for a tenant name it. */
export function tenantJobKey(job: { readonly jobId: string; readonly tenantId: number }): string {
  return `${job.jobId}/${job.tenantId}`;
}
