import type { EffectName, EffectState } from "../domain/effect.js";
import type { EffectView } from "../domain/effect-view.js";
import { firstUuid } from "../domain/uuid.js";
import type { ReadPool } from "./read-pool.js";
import { toMs } from "./sql-text.js";

interface EffectRow {
  readonly job_id: string;
  readonly scope: string;
  readonly key: string;
  readonly state: EffectState;
  readonly effect_token: string;
  readonly subject: string;
  readonly session_id: string | null;
  readonly claimed_at_ms: number;
  readonly expires_at_ms: number;
  readonly is_taken_over: boolean;
  readonly completed_at_ms: number | null;
  readonly content_type: string | null;
  readonly result_bytes: number | null;
  readonly result?: Buffer | null;
  readonly abandoned_at_ms: number | null;
  readonly abandoned_by: string | null;
  readonly abandon_reason: string | null;
}

const columns = `
  job_id, scope, key, state, effect_token, subject, session_id, ${toMs("claimed_at")} as claimed_at_ms,
  ${toMs("expires_at")} as expires_at_ms, is_taken_over, ${toMs("completed_at")} as completed_at_ms, content_type,
  length(result) as result_bytes, ${toMs("abandoned_at")} as abandoned_at_ms, abandoned_by, abandon_reason`;

function toView(row: EffectRow): EffectView {
  const { key } = row;
  return {
    name:
      row.job_id === firstUuid
        ? { jobId: null, scope: row.scope, key }
        : { jobId: row.job_id, scope: null, key },
    state: row.state,
    effectToken: BigInt(row.effect_token),
    holder: { subject: row.subject, sessionId: row.session_id },
    claimedAtMs: row.claimed_at_ms,
    heldUntilMs: row.expires_at_ms,
    isTakenOver: row.is_taken_over,
    completedAtMs: row.completed_at_ms,
    result: row.result ?? new Uint8Array(),
    contentType: row.content_type ?? "",
    resultBytes: row.result_bytes ?? 0,
    abandonment:
      row.abandoned_at_ms === null
        ? null
        : { atMs: row.abandoned_at_ms, by: row.abandoned_by ?? "", reason: row.abandon_reason ?? "" },
  };
}

/** One effect with its result, or null. */
export async function readEffect(
  db: ReadPool,
  tenantId: number,
  name: EffectName,
): Promise<EffectView | null> {
  const { rows } = await db.query<EffectRow>({
    name: "read_effect",
    text: `select ${columns}, result from effect where tenant_id = $1 and job_id = $2 and scope = $3 and key = $4`,
    values: [tenantId, name.jobId ?? firstUuid, name.scope ?? "", name.key],
  });
  return rows[0] ? toView(rows[0]) : null;
}

/** Effects of a job or scope with keys after the one given, by key, without results. */
export async function listEffects(
  db: ReadPool,
  tenantId: number,
  owner: Pick<EffectName, "jobId" | "scope">,
  afterKey: string,
  limit: number,
): Promise<EffectView[]> {
  const { rows } = await db.query<EffectRow>({
    name: "list_effects",
    text: `select ${columns} from effect where tenant_id = $1 and job_id = $2 and scope = $3 and key > $4
      order by key limit $5`,
    values: [tenantId, owner.jobId ?? firstUuid, owner.scope ?? "", afterKey, limit],
  });
  return rows.map(toView);
}
