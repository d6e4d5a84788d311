// The durability contract, as far as a ledger shows it. Tests that break things, and `npm run chaos`, ask these queries
// when all is over.
import { writerLockClass } from "./writer-connection.js";

export interface ContractClause {
  readonly clause: string;
  readonly promise: string;
  /** Rows that break it. */
  readonly broken: string;
}

/** Events that end a job. */
const terminal = "(7, 8, 9)";

const eventsOf = (jobId: string, type: number) =>
  `select from event v where v.job_id = ${jobId} and v.type = ${type}`;

/** What each clause forbids, as a query that must find nothing in a ledger whose jobs have all ended. */
export const contractClauses: readonly ContractClause[] = [
  {
    clause: "D3",
    promise: "every job has one terminal event, in its terminal state",
    broken: `select j.id, j.state, count(e.job_id) as ends from job j
      left join event e on e.job_id = j.id and e.type in ${terminal}
      group by j.id, j.state having count(e.job_id) <> 1 or min(e.state) <> j.state`,
  },
  {
    clause: "D3",
    promise: "no job of a run starts before what it waits for has ended, unless an operator sent it back",
    broken: `with waits as (
        select e.job_id, e.dependent_id from run_edge e
        union all select n.job_id, n.run_id from run_node n where n.is_child
      ), starts as (select job_id, min(at) as at from event where type = 3 group by job_id),
      ends as (select job_id, min(at) as at from event where type in ${terminal} group by job_id)
      select w.job_id, w.dependent_id from waits w
      join starts s on s.job_id = w.dependent_id left join ends e on e.job_id = w.job_id
      where (e.at is null or e.at >= s.at) and not exists (${eventsOf("w.dependent_id", 11)})`,
  },
  {
    clause: "D3",
    promise: "no job starts behind a hard dependency that did not succeed, unless an operator sent it back",
    broken: `select e.dependent_id, e.job_id from run_edge e join run_node n on n.job_id = e.job_id
      where e.is_hard and n.ended_as <> 6 and exists (${eventsOf("e.dependent_id", 3)})
        and not exists (${eventsOf("e.dependent_id", 11)})`,
  },
  {
    clause: "D3",
    promise: "no parent starts over children that failed, unless its run goes on or an operator sent it back",
    broken: `select r.run_id, r.children_failed from run r
      where r.policy <> 2 and r.children_failed > 0 and exists (${eventsOf("r.run_id", 3)})
        and not exists (${eventsOf("r.run_id", 11)})`,
  },
  {
    clause: "D3",
    promise: "every job of a run was counted once it had ended, and nothing is waited for any more",
    broken: `select n.job_id, n.waits_for, n.ended_as from run_node n join job j on j.id = n.job_id
      where j.state >= 6 and (n.ended_as is null or n.waits_for <> 0)`,
  },
  {
    clause: "D3",
    promise: "a run counts its jobs, and those of its children that did not succeed",
    broken: `select r.run_id, r.jobs, r.compensations, r.children_failed, count(n.job_id) as found from run r
      join run_node n on n.run_id = r.run_id group by r.run_id
      having r.jobs + r.compensations <> count(n.job_id) or r.children_failed <> count(*) filter (where n.is_child and n.ended_as <> 6)`,
  },
  {
    clause: "D3",
    promise: "a window of a backfill has at most one job, which ended as the window says",
    broken: `select j.options #>> '{window,backfillId}' as backfill_id, j.options #>> '{window,fromMs}' as from_ms,
        count(*) as jobs, min(j.state) as state, min(w.state) as window_state from job j
      join backfill_window w on w.backfill_id = (j.options #>> '{window,backfillId}')::uuid
        and w.from_at = to_timestamp((j.options #>> '{window,fromMs}')::float8 / 1000)
      where not j.options ? 'replay'
      group by 1, 2 having count(*) > 1
        or min(w.state) <> min(case j.state when 6 then 3 when 7 then 4 when 8 then 6 else 2 end)`,
  },
  {
    clause: "D4",
    promise: "each grant's fencing token is higher than all before it, and none ever falls",
    broken: `select * from (
        select job_id, revision, type, fencing_token,
          lag(fencing_token) over (partition by job_id order by revision) as former from event) e
      where fencing_token < former or (type = 3 and fencing_token <= former)`,
  },
  {
    clause: "D5",
    promise: "the accepted result came under the token of the last grant",
    broken: `select j.id, j.outcome_token, max(e.fencing_token) as last_grant from job j
      join event e on e.job_id = j.id and e.type = 3 where j.state = 6
      group by j.id, j.outcome_token having j.outcome_token is distinct from max(e.fencing_token)`,
  },
  {
    clause: "D8",
    promise: "no job has more attempts than allowed, or than grants",
    broken: `select j.id, j.attempt, j.attempts_max, count(e.job_id) as grants from job j
      left join event e on e.job_id = j.id and e.type = 3
      group by j.id, j.attempt, j.attempts_max
      having j.attempt > j.attempts_max or j.attempt > count(e.job_id)`,
  },
  {
    clause: "D8",
    promise:
      "what died after a start, or succeeded in a run that failed, is undone where it can be, by a job that is there",
    broken: `select c.job_id, c.made_job_id from compensation c join job j on j.id = c.job_id
      left join job m on m.id = c.made_job_id left join run_node n on n.job_id = c.job_id
      left join run r on r.run_id = n.run_id left join run_node p on p.job_id = r.run_id
      where (c.made_job_id is not null and m.id is null) or (c.made_job_id is null and (
        j.state = 7 and (j.attempt > 0 or j.has_waited)
        or c.on_run_failure and n.is_child and n.ended_as = 6 and r.policy is not null and p.ended_as <> 6))`,
  },
  {
    clause: "D8",
    promise: "what undoes a failed run goes backwards: the job that succeeded later is undone before",
    broken: `select e.job_id, e.dependent_id from run_edge e join compensation later on later.made_job_id = e.job_id
      join compensation earlier on earlier.made_job_id = e.dependent_id
      join job l on l.id = later.job_id join job f on f.id = earlier.job_id where l.finished_at < f.finished_at`,
  },
  {
    clause: "D8",
    promise: "the dead letters are the dead jobs",
    broken: `select coalesce(j.id, d.job_id) as id from (select * from job where state = 7) j
      full join dead_letter d on d.job_id = j.id where j.id is null or d.job_id is null`,
  },
  {
    clause: "D11",
    promise: "no job waits for a signal that is there, but for those that are being woken",
    broken: `select s.job_id, s.after_sequence, p.last_sequence from suspended s
      join channel_partition p on p.channel_id = s.channel_id and p.partition = s.partition
      where p.last_sequence > s.after_sequence and not p.is_waking`,
  },
  {
    clause: "D16",
    promise: "every completed effect of a job has exactly one event",
    // What a replay took over from its original was completed before it was there.
    broken: `select e.job_id, e.key, count(v.job_id) as events from effect e
      join job j on j.id = e.job_id and j.submitted_at <= e.completed_at left join event v on v.job_id = e.job_id and v.type = 12 and v.reason = e.key
      where e.state = 3 and e.scope = '' group by e.job_id, e.key having count(v.job_id) <> 1`,
  },
  {
    clause: "D18",
    promise: "what meters count is what leases hold, together with what was let go and is not subtracted yet",
    broken: `with rows as (
        select m as meter_id, 1 as jobs, h.cost, h.tokens from hold h cross join lateral unnest(h.meter_ids) m
        union all select meter_id, jobs, cost, tokens from hold_end)
      select m.meter_id, m.jobs, m.open_cost, m.open_tokens from meter m left join rows r on r.meter_id = m.meter_id
      group by m.meter_id
      having m.jobs <> coalesce(sum(r.jobs), 0) or m.open_cost <> coalesce(sum(r.cost), 0)
        or m.open_tokens <> coalesce(sum(r.tokens), 0)`,
  },
  {
    clause: "D18",
    promise: "seats and spend belong to leases that stand",
    broken: `select h.job_id
      from (select job_id, fencing_token from seat union all select job_id, fencing_token from spend) h
      left join job j on j.id = h.job_id where j.state is distinct from 5 or j.fencing_token <> h.fencing_token`,
  },
  {
    clause: "D20",
    promise: "each revision of a job has exactly one event",
    broken: `select j.id, j.revision, count(e.job_id) as events from job j left join event e on e.job_id = j.id
      group by j.id, j.revision
      having count(e.job_id) <> j.revision or count(distinct e.revision) <> j.revision or max(e.revision) <> j.revision`,
  },
  {
    clause: "D20",
    promise: "the pages of each writer are numbered without a gap, once its life is over",
    // Of a hub that was killed, one or two of the last numbers may have come to nothing until somebody ends its life.
    broken: `with steps as (
        select writer_id, batch, batch - lag(batch, 1, 0::bigint) over (partition by writer_id order by batch) as step
        from event_page)
      select s.writer_id, batch, step from steps s join writer w on w.writer_id = s.writer_id
      where step <> 1 and (w.ended_at is not null or exists (
        select from pg_locks l where l.locktype = 'advisory' and l.classid::bigint = ${writerLockClass} and l.objid::bigint = s.writer_id))`,
  },
  {
    clause: "D22",
    promise: "the seals of each tenant are numbered without a gap, and what is sealed is in one of them",
    broken: `select tenant_id, number from (
        select tenant_id, number, number - lag(number, 1, 0::bigint) over (partition by tenant_id order by number) as step
        from audit_seal) s where step <> 1
      union all select o.tenant_id, o.seal_number from operation o
      left join audit_seal s on s.tenant_id = o.tenant_id and s.number = o.seal_number
      where o.seal_number is not null and s.number is null`,
  },
];
