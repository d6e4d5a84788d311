const isHeld = "writer_id = $1 and state = 1";

/**
 * A table expression `held`: which of the sessions in an array parameter this hub ($1) holds, locked so that none of
 * them is resumed elsewhere before the statement has committed. A resume that waited for the lock finds what the
 * statement did; one that came first leaves it nothing to do (docs/adr/0018).
 */
export function heldSessions(sessionIds: string): string {
  return `held as materialized (
  select session_id from session where session_id = any(${sessionIds}::uuid[]) and ${isHeld} for share
)`;
}

export const heldSessionsText = `select session_id from session where session_id = any($2::uuid[]) and ${isHeld}`;
