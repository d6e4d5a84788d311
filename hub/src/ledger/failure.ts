import pg from "pg";

/**
 * What a failed statement means for its batch. It may have failed after what it wrote was committed, in reading more.
 *
 * - `connection`: the server is gone, going, not yet there, or keeps us from our tables; whether the statement
 *   committed is unknown.
 * - `conflict`: serialization failure or deadlock; the same batch may be tried again.
 * - `refused`: the statement cannot be made, or is refused for what it holds: so it would be each time.
 * - `held_up`: it took too long, was cancelled, or failed for what says nothing of its items. Half of it may pass, and
 *   all of it later.
 */
export type StatementFailure = "connection" | "conflict" | "refused" | "held_up";

/** SQLSTATE classes and codes: https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function classifyFailure(error: unknown): StatementFailure {
  if (error instanceof TypeError || error instanceof RangeError) return "refused";
  if (!(error instanceof pg.DatabaseError) || error.code === undefined) return "connection";
  return byCode.get(error.code) ?? byClass.get(error.code.slice(0, 2)) ?? "held_up";
}

const byCode: ReadonlyMap<string, StatementFailure> = new Map([
  ["40001", "conflict"],
  ["40P01", "conflict"],
  // Whoever holds a lock for so long holds it on a table: that is no fault of any item.
  ["55P03", "connection"],
  ["57014", "held_up"],
]);

const byClass: ReadonlyMap<string, StatementFailure> = new Map([
  // No transaction as we need it, or no memory of what was prepared: another connection has both.
  ...["08", "25", "26", "53", "57", "58"].map((name) => [name, "connection"] as const),
  // Rows that are changed twice, what cannot be held, constraints, limits of the server, what functions raise.
  ...["21", "22", "23", "27", "44", "54", "P0"].map((name) => [name, "refused"] as const),
]);
