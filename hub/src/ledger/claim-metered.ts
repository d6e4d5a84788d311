// Claims jobs that meters stand before: caps, budgets, seats, keys that they declare (docs/adr/0031). What they ask for
// and how much is taken is read without a lock; the rule of domain/meter.ts decides who may start; the statement that
// grants locks the meters, adds up once more what it is about to grant, and does nothing at all if that fits no longer.
//
// Invariants
//  1. Meters are locked in the order of their numbers, after the sessions and before any job; whoever ends a lease locks
//     none. So nobody waits in a circle.
//  2. What is granted, what it holds and what its meters count are written in one statement, or not at all.
//  3. What leases let go is subtracted under the lock of the meter, once: by the one who deletes its row.
import { Priority } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import { admit, type MeterLimits, type ReadLevel } from "../domain/meter.js";
import {
  type ClaimItem,
  type ClaimResult,
  type GrantRow,
  grantColumns,
  readHeld,
  readHeldSessions,
  type StoppedJob,
  toGrants,
} from "./claim-jobs.js";
import { distinctItems } from "./distinct-items.js";
import { classifyFailure } from "./failure.js";
import type { BatchContext, BatchStatement } from "./group-commit.js";
import { heldForGrants } from "./held-sessions.js";
import { makeMetersText, type ReadAsk, readAsks, readLevels } from "./meters.js";
import { addToDelivery, booleanArray, linkHistory, numberArray, uuidArray, writePage } from "./sql-text.js";

export type MeteredResult =
  | Exclude<ClaimResult, "metered">
  | StoppedJob
  /** Others took meanwhile what it was to get: it is to be tried again. Nothing was claimed. */
  | "contended";

/** A meter that is missing is made, and may be forgotten before it is used. */
const looksMax = 5;
/** Above the score of whatever has no right to come first. */
const firstScore = 1e12;

const levelParts = (limits: string) => `
), locked as materialized (
  select m.meter_id, m.jobs, m.open_cost, m.open_tokens, m.window_began_at, m.spent_cost, m.spent_tokens,
    case when m.promised_until > now() then m.promised else 0 end as promised,
    window_start(g.settings, now()) as began_at, ${limits}
  join meter m on m.meter_id = l.meter_id
  left join gate g on g.gate_id = m.meter_id
  where exists (select from held)
  order by m.meter_id for update of m
), ended as (
  delete from hold_end e using locked l where e.meter_id = l.meter_id
  returning e.*, isfinite(l.began_at) and e.at >= l.began_at as is_current
), folded as materialized (
  select meter_id, sum(jobs)::integer as jobs, sum(cost)::bigint as cost, sum(tokens)::bigint as tokens,
    sum(settled_cost)::bigint as settled_cost, sum(settled_tokens)::bigint as settled_tokens,
    coalesce(sum(spent_cost) filter (where is_current), 0)::bigint as spent_cost,
    coalesce(sum(spent_tokens) filter (where is_current), 0)::bigint as spent_tokens
  from ended group by meter_id
), levels as materialized (
  select l.meter_id, l.jobs_max, l.cost_max, l.tokens_max, l.began_at,
    l.jobs - coalesce(f.jobs, 0) as jobs,
    case when l.window_began_at >= l.began_at then l.spent_cost else 0 end + coalesce(f.spent_cost, 0) as spent_cost,
    case when l.window_began_at >= l.began_at then l.spent_tokens else 0 end + coalesce(f.spent_tokens, 0) as spent_tokens,
    l.open_cost - coalesce(f.cost, 0) as open_cost, l.open_tokens - coalesce(f.tokens, 0) as open_tokens
  from locked l left join folded f on f.meter_id = l.meter_id`;

/** For each of the meters that these ask of: more than there is room for. */
const isTooMuch = (asking: string) => `
  select from ${asking} a join levels l on l.meter_id = a.meter_id
  where l.jobs + a.jobs > l.jobs_max
    or l.open_cost + l.spent_cost + greatest(a.cost, 1) > l.cost_max
    or l.open_tokens + l.spent_tokens + greatest(a.tokens, 1) > l.tokens_max`;

const grantPart = (meterIds: string, condition: string, also: string) => `
), granted as (
  update job j set
      state = ${JobState.Leased}, attempt = j.attempt + 1, fencing_token = j.fencing_token + 1,
      session_id = i.session_id, delivery = i.delivery, started_at = now(), progress = null,
      meter_ids = nullif(${meterIds}, '{}'), ${linkHistory}
  from input i
  where j.id = i.id and j.state = ${JobState.Ready}
    and i.session_id in (select session_id from held) and ${condition}
  returning j.id, j.lane_id, j.state, j.revision, j.attempt, j.attempts_max, j.fencing_token, j.session_id, j.delivery,
    j.payload, j.content_type, j.options, j.checkpoint_sequence, j.deadline, j.submitted_at,
    j.prior_at, j.prior_writer, j.prior_batch, j.meter_ids, ${also},
    ${JobEventType.Leased}::smallint as event, j.session_id as event_session, null::text as reason`;

/** What was granted goes into its delivery, and is counted; what ended before is counted out. */
const countParts = `), deliveries as (
  insert into delivery (session_id, delivery, job_ids)
  select session_id, delivery, array_agg(id) from granted group by session_id, delivery
  ${addToDelivery}
), taken as materialized (
  select m.meter_id, count(*)::integer as jobs, sum(g.cost)::bigint as cost, sum(g.tokens)::bigint as tokens,
    count(*) filter (where g.priority = ${Priority.Critical})::integer as critical_jobs
  from granted g cross join lateral unnest(g.meter_ids) as m (meter_id) group by m.meter_id
), changes as materialized (
  select l.meter_id, l.began_at, l.spent_cost, l.spent_tokens,
    coalesce(f.jobs, 0) as less_jobs, coalesce(f.cost, 0) as less_cost, coalesce(f.tokens, 0) as less_tokens,
    coalesce(f.settled_cost, 0) as settled_cost, coalesce(f.settled_tokens, 0) as settled_tokens,
    coalesce(t.jobs, 0) as jobs, coalesce(t.cost, 0) as cost, coalesce(t.tokens, 0) as tokens,
    coalesce(t.critical_jobs, 0) as critical_jobs
  from levels l left join folded f on f.meter_id = l.meter_id left join taken t on t.meter_id = l.meter_id
  where f.meter_id is not null or t.meter_id is not null
), counted as (
  update meter m set
      jobs = m.jobs - c.less_jobs + c.jobs, used_at = now(),
      held_cost = m.held_cost + c.cost, open_cost = m.open_cost - c.less_cost + c.cost,
      settled_cost = m.settled_cost + c.settled_cost,
      refunded_cost = m.refunded_cost + c.less_cost - c.settled_cost,
      held_tokens = m.held_tokens + c.tokens, open_tokens = m.open_tokens - c.less_tokens + c.tokens,
      settled_tokens = m.settled_tokens + c.settled_tokens,
      refunded_tokens = m.refunded_tokens + c.less_tokens - c.settled_tokens,
      spent_cost = c.spent_cost, spent_tokens = c.spent_tokens,
      window_began_at = greatest(m.window_began_at, c.began_at),
      promised = greatest(m.promised - c.critical_jobs, 0)
  from changes c where m.meter_id = c.meter_id
`;

/** The rule decided who starts and who is parked; nothing is done if that is out of date. */
const judgedText = `
with ${heldForGrants("$6", "$7")}, input as (
  select i.id, i.session_id, i.delivery, i.is_granted, i.cost, i.tokens, i.score, i.meter_ids::integer[] as meter_ids,
    i.seats_meter_id, i.priority, i.stopped_at, i.reason, i.until_ms
  from unnest($3::uuid[], $4::uuid[], $5::bigint[], $8::boolean[], $9::bigint[], $10::bigint[], $11::float8[],
    $12::text[], $13::integer[], $14::smallint[], $15::integer[], $16::text[], $17::float8[])
    as i (id, session_id, delivery, is_granted, cost, tokens, score, meter_ids, seats_meter_id, priority, stopped_at,
      reason, until_ms)
${levelParts(`l.jobs_max, l.cost_max, l.tokens_max
  from unnest($18::integer[], $19::bigint[], $20::bigint[], $21::bigint[])
    as l (meter_id, jobs_max, cost_max, tokens_max)`)}
), asked as materialized (
  select m.meter_id, count(*)::integer as jobs, sum(i.cost)::bigint as cost, sum(i.tokens)::bigint as tokens
  from input i cross join lateral unnest(i.meter_ids) as m (meter_id)
  where i.is_granted group by m.meter_id
), verdict as materialized (
  select (select count(*) from locked) = cardinality($18::integer[]) and not exists (${isTooMuch("asked")}) as fits
${grantPart(
  "i.meter_ids",
  "i.is_granted and (select fits from verdict)",
  "i.cost, i.tokens, i.score, i.seats_meter_id, i.priority",
)}
), stopped as (
  update job j set state = ${JobState.Parked}, ${linkHistory}
  from input i
  where j.id = i.id and not i.is_granted and j.state = ${JobState.Ready}
    and i.session_id in (select session_id from held) and (select fits from verdict)
  returning j.id, j.state, j.revision, j.attempt, j.fencing_token, j.prior_at, j.prior_writer, j.prior_batch,
    i.stopped_at, i.score, i.until_ms,
    ${JobEventType.Deferred}::smallint as event, null::uuid as event_session, i.reason
), seats as (
  insert into seat (job_id, fencing_token, seats_meter_id, priority, lane_id, score)
  select id, fencing_token, seats_meter_id, priority, lane_id, score
  from granted where seats_meter_id is not null
), parkings as (
  insert into parked (job_id, gate_id, reason, next_at, score)
  select id, stopped_at, reason, to_timestamp(until_ms / 1000), score from stopped
), told as (
  select id, event, state, revision, attempt, fencing_token, event_session, reason, prior_at, prior_writer, prior_batch
  from granted
  union all
  select id, event, state, revision, attempt, fencing_token, event_session, reason, prior_at, prior_writer, prior_batch
  from stopped
${countParts}), ${writePage("told")}
select v.fits, array(select id from stopped) as stopped_ids, ${grantColumns}
from verdict v left join granted on true`;

/**
 * Everybody starts, and the statement fails when that turns out to be too much: what is asked for and what is allowed is
 * found on the way, which costs a plain claim little more. Who declares a key, and seats that may be taken from others,
 * are never easy.
 */
const easyText = `
with ${heldForGrants("$6", "$7")}, input as (
  select * from unnest($3::uuid[], $4::uuid[], $5::bigint[], $8::text[]) as i (id, session_id, delivery, meter_ids)
${levelParts(`coalesce(g.settings ->> 'jobsMax', g.settings ->> 'seatsMax')::bigint as jobs_max,
    (g.settings ->> 'costMax')::bigint as cost_max, (g.settings ->> 'tokensMax')::bigint as tokens_max,
    coalesce((g.settings ->> 'isPreemptive')::boolean, false) as is_hard
  from unnest($9::integer[]) as l (meter_id)`)}
${grantPart(
  "i.meter_ids::integer[]",
  "(select count(*) from locked where not is_hard) = cardinality($9::integer[])",
  "estimated_cost(j.options) as cost, estimated_tokens(j.options) as tokens, null::smallint as priority",
)}
${countParts}), ${writePage("granted")}
select case
    when (select count(*) from locked where not is_hard) <> cardinality($9::integer[]) then false
    when exists (${isTooMuch("taken")}) or exists (select from granted where options ? 'inFlight')
      then try_again() is null
    else true end as fits,
  '{}'::uuid[] as stopped_ids, ${grantColumns}
from (select 1) one left join granted on true`;

type MeteredRow = GrantRow & { readonly fits: boolean; readonly stopped_ids: readonly string[] };

/** What one try decided, before it is written. */
interface Plan {
  readonly items: readonly ClaimItem[];
  readonly asks: ReadonlyMap<string, ReadAsk>;
  readonly levels: ReadonlyMap<number, ReadLevel>;
  readonly stops: ReadonlyMap<string, StoppedJob & { readonly untilMs: number | null }>;
}

/** Claims jobs under meters, each or none of what it needs. */
export const claimMetered: BatchStatement<ClaimItem, MeteredResult> = {
  name: "claim_metered",
  itemsMax: 512,
  bytesMax: 64 << 20,
  bytesOf: () => 64,
  run: async (on, items) => {
    const distinct = [...distinctItems(items, (item) => item.jobId).values()];
    const holders = uuidArray([...new Set(distinct.map((item) => item.sessionId))]);
    const gateEpoch = Math.min(...distinct.map((item) => item.gateEpoch));
    const found = new Map<string, MeteredResult>();
    if (on.isRetry) for (const [id, lease] of await readBack(on, distinct)) found.set(id, lease);
    const open = distinct.filter((item) => !found.has(item.jobId));
    const mayBeEasy =
      !on.isRetry && open.length > 0 && open.every(({ meterIds = [] }) => meterIds.length > 0);
    const easy = mayBeEasy ? await writeEasy(on, open, holders, gateEpoch) : [];
    const isEasy = easy[0]?.fits === true;
    const plan = open.length > 0 && !isEasy ? await decide(on, open) : null;
    const judged = plan && plan.asks.size > 0 ? await write(on, plan, holders, gateEpoch) : [];
    const rows = isEasy ? easy : judged;
    const grants = rows.filter((row) => row.id !== null);
    const leases = await toGrants((query) => on.connection.query(query), grants);
    for (const [id, lease] of leases) found.set(id, lease);
    const stoppedIds = rows[0]?.stopped_ids ?? [];
    for (const id of stoppedIds) found.set(id, plan?.stops.get(id) as StoppedJob);
    const isContended = rows.length > 0 && rows[0]?.fits !== true;
    const isOpen = distinct.some((item) => !found.has(item.jobId));
    const held = isOpen ? await readHeldSessions(on, holders, "{}") : null;
    const answers = new Map<ClaimItem, MeteredResult>();
    for (const item of distinct) {
      const result = found.get(item.jobId);
      if (result !== undefined) answers.set(item, result);
      else if (held?.sessionIds.has(item.sessionId) === false) answers.set(item, "superseded");
      else if (held && held.gateEpoch !== gateEpoch) answers.set(item, "gates_changed");
      else if (isContended && plan?.asks.has(item.jobId)) answers.set(item, "contended");
    }
    return {
      results: items.map((item) => answers.get(item) ?? null),
      wrotePage: grants.length > 0 || stoppedIds.length > 0,
    };
  },
};

/** After a lost connection: what the try before granted to these very deliveries. */
async function readBack(on: BatchContext, items: readonly ClaimItem[]) {
  const rows = await readHeld(
    on,
    items.map((item) => item.jobId),
    uuidArray(items.map((item) => item.sessionId)),
    numberArray(items.map((item) => item.delivery)),
  );
  return toGrants((query) => on.connection.query(query), rows);
}

/** Grants all that are ready; nothing, and no row that says that it fits, when there is not plainly room for them. */
async function writeEasy(
  on: BatchContext,
  items: readonly ClaimItem[],
  holders: string,
  gateEpoch: number,
): Promise<readonly MeteredRow[]> {
  try {
    const { rows } = await on.connection.query<MeteredRow>({
      name: "claim_metered_easily",
      text: easyText,
      values: [
        on.writerId,
        on.batch,
        uuidArray(items.map((item) => item.jobId)),
        uuidArray(items.map((item) => item.sessionId)),
        numberArray(items.map((item) => item.delivery)),
        holders,
        gateEpoch,
        items.map(({ meterIds = [] }) => numberArray(meterIds)),
        numberArray([...new Set(items.flatMap(({ meterIds = [] }) => meterIds))]),
      ],
    });
    return rows;
  } catch (error) {
    if (classifyFailure(error) !== "conflict") throw error;
    return [];
  }
}

async function decide(on: BatchContext, items: readonly ClaimItem[]): Promise<Plan> {
  const query = on.connection.query.bind(on.connection);
  const wanted = new Map(items.map((item) => [item.jobId, item]));
  const gateIds = [...new Set(items.flatMap(({ meterIds = [] }) => meterIds))];
  for (let tries = 1; ; tries += 1) {
    // Sent together: only the meters of declared keys are known no sooner than the jobs.
    const [asks, gateLevels] = await Promise.all([readAsks(query, wanted), readLevels(query, gateIds)]);
    const meterIds = asks ? [...new Set([...gateIds, ...asks.flatMap((ask) => ask.meterIds)])] : [];
    const keyIds = meterIds.filter((id) => !gateIds.includes(id));
    const keyLevels = keyIds.length > 0 ? await readLevels(query, keyIds) : [];
    const levels = new Map([...gateLevels, ...keyLevels]);
    const isComplete = asks !== null && meterIds.every((id) => levels.has(id));
    if (!isComplete && tries < looksMax) {
      const made = await on.connection.query({
        name: "make_meters",
        text: makeMetersText,
        values: [uuidArray([...wanted.keys()]), numberArray(gateIds)],
      });
      if (asks === null || (made.rowCount ?? 0) > 0) continue;
    }
    if (asks === null) throw new Error("A declared key has no meter, though it was made.");
    const admissions = admit(levels, asks);
    const stops = new Map<string, StoppedJob & { readonly untilMs: number | null }>();
    for (const [id, admission] of admissions)
      if (admission.type === "refused")
        stops.set(id, {
          stoppedAt: admission.meterId,
          reason: admission.reason,
          untilMs: admission.untilMs,
        });
    return { items, asks: new Map(asks.map((ask) => [ask.jobId, ask])), levels, stops };
  }
}

async function write(
  on: BatchContext,
  { items, asks, levels, stops }: Plan,
  holders: string,
  gateEpoch: number,
): Promise<readonly MeteredRow[]> {
  const ready = items.filter((item) => asks.has(item.jobId));
  const askOf = (item: ClaimItem) => asks.get(item.jobId) as ReadAsk;
  // A critical job that may take a seat is the first to get one that is free, whatever waits longer.
  const isFirst = (item: ClaimItem) =>
    askOf(item).isCritical && levels.get(stopOf(item)?.stoppedAt ?? 0)?.isPreemptive === true;
  const stopOf = (item: ClaimItem) => stops.get(item.jobId);
  // A gate that was removed since has no meter; the epoch says so, and nothing is granted.
  const limits = [...levels.values()].map((level) => ({ level, limits: limitsUnder(level, asks, stops) }));
  const { rows } = await on.connection.query<MeteredRow>({
    name: "claim_metered",
    text: judgedText,
    values: [
      on.writerId,
      on.batch,
      uuidArray(ready.map((item) => item.jobId)),
      uuidArray(ready.map((item) => item.sessionId)),
      numberArray(ready.map((item) => item.delivery)),
      holders,
      gateEpoch,
      booleanArray(ready.map((item) => !stops.has(item.jobId))),
      numberArray(ready.map((item) => askOf(item).cost)),
      numberArray(ready.map((item) => askOf(item).tokens)),
      numberArray(ready.map((item) => askOf(item).score + (isFirst(item) ? firstScore : 0))),
      ready.map((item) => numberArray(askOf(item).meterIds.filter((id) => levels.has(id)))),
      numberArray(
        ready.map((item) => askOf(item).meterIds.find((id) => levels.get(id)?.isPreemptive) ?? null),
      ),
      numberArray(ready.map((item) => askOf(item).priority)),
      numberArray(ready.map((item) => stopOf(item)?.stoppedAt ?? null)),
      ready.map((item) => stopOf(item)?.reason ?? null),
      numberArray(ready.map((item) => stopOf(item)?.untilMs ?? null)),
      numberArray(limits.map(({ level }) => level.meterId)),
      numberArray(limits.map(({ limits }) => limits.jobsMax)),
      numberArray(limits.map(({ limits }) => limits.costMax)),
      numberArray(limits.map(({ limits }) => limits.tokensMax)),
    ],
  });
  return rows;
}

/**
 * What the statement compares with. Where jobs declare limits of their own, nobody may have taken anything since it was
 * decided, because who comes first decides who fits.
 */
function limitsUnder(
  level: ReadLevel,
  asks: ReadonlyMap<string, ReadAsk>,
  stops: ReadonlyMap<string, unknown>,
): MeterLimits {
  const granted = [...asks.values()].filter(
    ({ jobId, declared }) => declared?.meterId === level.meterId && !stops.has(jobId),
  );
  if (!granted.some((ask) => ask.declared?.jobsMax !== null)) return level.limits;
  return { ...level.limits, jobsMax: level.jobs + granted.length };
}
