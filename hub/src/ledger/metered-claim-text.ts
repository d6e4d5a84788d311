// The two statements that claim under meters (claim-metered.ts). Neither reads jobs beside the update of them: PostgreSQL
// 18.4 does not survive that when a job changes at the same moment (docs/adr/0031).
import { Priority } from "../domain/job-spec.js";
import { JobEventType, JobState } from "../domain/job-state.js";
import { grantColumns } from "./claim-jobs.js";
import { heldForGrants } from "./held-sessions.js";
import { allJobs, onJobTable } from "./job-partitions.js";
import { promisedNow } from "./preempt.js";
import { addToDelivery, isByKey, linkHistory, writePage } from "./sql-text.js";

const levelParts = (limits: string) => `
), locked as materialized (
  select m.meter_id, m.jobs, m.open_cost, m.open_tokens, m.window_began_at, m.spent_cost, m.spent_tokens,
    ${promisedNow} as promised,
    window_start(g.settings, now()) as began_at, ${limits}
  join meter m on ${isByKey("m.meter_id", "l.meter_id")}
  left join gate g on ${isByKey("g.gate_id", "m.meter_id")}
  where exists (select from held)
  order by l.meter_id for update of m
), ended as (
  delete from hold_end e using locked l where ${isByKey("e.meter_id", "l.meter_id")}
  returning e.*, isfinite(l.began_at) and e.at >= l.began_at as is_current
), folded as materialized (
  select meter_id, sum(jobs)::integer as jobs, sum(cost)::bigint as cost, sum(tokens)::bigint as tokens,
    sum(settled_cost)::bigint as settled_cost, sum(settled_tokens)::bigint as settled_tokens,
    coalesce(sum(spent_cost) filter (where is_current), 0)::bigint as spent_cost,
    coalesce(sum(spent_tokens) filter (where is_current), 0)::bigint as spent_tokens
  from ended group by meter_id
), levels as materialized (
  select l.meter_id, l.jobs_max, l.cost_max, l.tokens_max, l.began_at, l.promised,
    l.jobs - coalesce(f.jobs, 0) as jobs,
    case when l.window_began_at >= l.began_at then l.spent_cost else 0 end + coalesce(f.spent_cost, 0) as spent_cost,
    case when l.window_began_at >= l.began_at then l.spent_tokens else 0 end + coalesce(f.spent_tokens, 0) as spent_tokens,
    l.open_cost - coalesce(f.cost, 0) as open_cost, l.open_tokens - coalesce(f.tokens, 0) as open_tokens
  from locked l left join folded f on f.meter_id = l.meter_id`;

/** For each of the meters that these ask of: more than there is room for, or than critical jobs leave to others. */
const isTooMuch = (asking: string) => `
  select from ${asking} a join levels l on l.meter_id = a.meter_id
  where l.jobs + a.jobs
      + case when a.critical_jobs < a.jobs then greatest(l.promised - a.critical_jobs, 0) else 0 end > l.jobs_max
    or l.open_cost + l.spent_cost + greatest(a.cost, 1) > l.cost_max
    or l.open_tokens + l.spent_tokens + greatest(a.tokens, 1) > l.tokens_max`;

const grantPart = (jobs: string, meterIds: string, condition: string, also: string) => `
), granted as (
  update ${jobs} j set
      state = ${JobState.Leased}, attempt = j.attempt + 1, fencing_token = j.fencing_token + 1,
      session_id = i.session_id, delivery = i.delivery, started_at = now(), progress = null,
      meter_ids = nullif(${meterIds}, '{}'), ${linkHistory}
  from input i
  where ${isByKey("j.id", "i.id")} and j.state = ${JobState.Ready}
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
  from changes c where ${isByKey("m.meter_id", "c.meter_id")}
`;

/** The rule decided who starts and who is parked; nothing is done if that is out of date. */
export const judgedText = `
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
  select m.meter_id, count(*)::integer as jobs, sum(i.cost)::bigint as cost, sum(i.tokens)::bigint as tokens,
    count(*) filter (where i.priority = ${Priority.Critical})::integer as critical_jobs
  from input i cross join lateral unnest(i.meter_ids) as m (meter_id)
  where i.is_granted group by m.meter_id
), verdict as materialized (
  select (select count(*) from locked) = cardinality($18::integer[]) and not exists (${isTooMuch("asked")}) as fits
${grantPart(
  allJobs,
  "i.meter_ids",
  "i.is_granted and (select fits from verdict)",
  "i.cost, i.tokens, i.score, i.seats_meter_id, i.priority",
)}
), stopped as (
  update job j set state = ${JobState.Parked}, ${linkHistory}
  from input i
  where ${isByKey("j.id", "i.id")} and not i.is_granted and j.state = ${JobState.Ready}
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
export const easyClaim = onJobTable(
  "claim_metered_easily",
  (jobs) => `
with ${heldForGrants("$6", "$7")}, input as (
  select * from unnest($3::uuid[], $4::uuid[], $5::bigint[], $8::text[]) as i (id, session_id, delivery, meter_ids)
${levelParts(`coalesce(g.settings ->> 'jobsMax', g.settings ->> 'seatsMax')::bigint as jobs_max,
    (g.settings ->> 'costMax')::bigint as cost_max, (g.settings ->> 'tokensMax')::bigint as tokens_max,
    coalesce((g.settings ->> 'isPreemptive')::boolean, false) as is_hard
  from unnest($9::integer[]) as l (meter_id)`)}
${grantPart(
  jobs,
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
from (select 1) one left join granted on true`,
);
