import pg from "pg";

/**
 * What a failed statement means for its batch.
 *
 * - `connection`: the server is gone, going, not yet there, or keeps us from our tables; whether the statement
 *   committed is unknown.
 * - `conflict`: serialization failure or deadlock; nothing was written, the same batch may be tried again.
 * - `refused`: the statement cannot be made or is refused for what it holds; nothing was written.
 */
export type StatementFailure = "connection" | "conflict" | "refused";

/** SQLSTATE classes and codes: https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function classifyFailure(error: unknown): StatementFailure {
  if (error instanceof TypeError || error instanceof RangeError) return "refused";
  if (!(error instanceof pg.DatabaseError) || error.code === undefined) return "connection";
  if (error.code === "40001" || error.code === "40P01") return "conflict";
  // Whoever holds a lock for so long holds it on a table: that is no fault of any item.
  if (error.code === "55P03") return "connection";
  // A statement that took too long is refused: half of it may pass.
  if (error.code === "57014") return "refused";
  const lost = ["08", "53", "57", "58"];
  return lost.includes(error.code.slice(0, 2)) ? "connection" : "refused";
}
