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
    promise: "no job of a run starts before what it waits for has ended",
    broken: `with waits as (
        select e.job_id, e.dependent_id from run_edge e
        union all select n.job_id, n.run_id from run_node n where n.is_child
      ), starts as (select job_id, min(at) as at from event where type = 3 group by job_id),
      ends as (select job_id, min(at) as at from event where type in ${terminal} group by job_id)
      select w.job_id, w.dependent_id from waits w
      join starts s on s.job_id = w.dependent_id left join ends e on e.job_id = w.job_id
      where e.at is null or e.at >= s.at`,
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
        select m as meter_id, h.cost, h.tokens from hold h cross join lateral unnest(h.meter_ids) m
        union all select meter_id, cost, tokens from hold_end)
      select m.meter_id, m.jobs, m.open_cost, m.open_tokens from meter m left join rows r on r.meter_id = m.meter_id
      group by m.meter_id
      having m.jobs <> count(r.meter_id) or m.open_cost <> coalesce(sum(r.cost), 0)
        or m.open_tokens <> coalesce(sum(r.tokens), 0)`,
  },
  {
    clause: "D18",
    promise: "nothing is held for a job that no session has",
    broken: `select h.job_id from hold h left join job j on j.id = h.job_id
      where j.state is distinct from 5 or j.fencing_token <> h.fencing_token`,
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
];
