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

/**
 * The same where leases are granted: none is, under gates that have changed since the hub looked at them.
 *
 * @param gateEpoch the epoch that the hub knows
 */
export function heldForGrants(sessionIds: string, gateEpoch: string): string {
  return `held as materialized (
  select session_id from session where session_id = any(${sessionIds}::uuid[]) and ${isHeld}
    and ${currentEpoch} = ${gateEpoch}::bigint for share
)`;
}

const currentEpoch = "(select epoch from gate_epoch where is_only)";

/** Why a claim was not granted: which sessions are held, what the gates' epoch is, which jobs declare a key. */
export const heldSessionsText = `
select ${currentEpoch} as gate_epoch,
  array(select session_id from session where session_id = any($2::uuid[]) and ${isHeld}) as session_ids,
  array(select id from job where id = any($3::uuid[]) and state = 3 and options ? 'inFlight') as metered_ids`;
