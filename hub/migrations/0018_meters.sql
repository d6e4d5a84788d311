-- Meters: how much of a gate's limit is taken (docs/adr/0031). A cap, a budget and a number of seats are gates with a meter
-- each; a key that jobs declare has one without a gate of its own.

-- Null: no lease of the job has ever held anything of a meter, so that its end is no meter's business.
alter table job add column is_metered boolean;

create table meter (
  -- The number of its gate; of a declared key, a negative one.
  meter_id integer primary key,
  tenant_id integer not null references tenant,
  declared_key text,
  -- Leases that hold something of it.
  jobs integer not null default 0 check (jobs >= 0),
  -- Sums over all attempts there ever were, in millionths of a US dollar: what was held at claims, what of it was
  -- settled as spent, and what was refunded. The rest is held by open leases (D18).
  held_cost bigint not null default 0,
  settled_cost bigint not null default 0,
  refunded_cost bigint not null default 0,
  open_cost bigint not null default 0 check (open_cost >= 0),
  constraint meter_cost_conserved check (held_cost = settled_cost + refunded_cost + open_cost),
  -- The same of tokens.
  held_tokens bigint not null default 0,
  settled_tokens bigint not null default 0,
  refunded_tokens bigint not null default 0,
  open_tokens bigint not null default 0 check (open_tokens >= 0),
  constraint meter_tokens_conserved check (held_tokens = settled_tokens + refunded_tokens + open_tokens),
  -- Spent in the window that began then: settled, spent beyond what was held, and accrued from outside.
  window_began_at timestamptz not null default '-infinity',
  spent_cost bigint not null default 0,
  spent_tokens bigint not null default 0,
  -- Of which window operators were last told that its budget is nearly spent, and that it is.
  warned_window timestamptz not null default '-infinity',
  exhausted_window timestamptz not null default '-infinity',
  -- Seats that are being emptied for critical jobs, which nobody else takes until then.
  promised integer not null default 0 check (promised >= 0),
  promised_until timestamptz not null default '-infinity',
  -- When it was last held or let go; meters of declared keys that nobody uses are forgotten.
  used_at timestamptz not null default now(),
  unique (tenant_id, declared_key)
) with (fillfactor = 50);
create sequence declared_key_meter as integer increment by -1 minvalue -2147483648 maxvalue -1 start with -1;

-- What the current lease of a job holds. It goes with the lease.
create table hold (
  job_id uuid primary key,
  fencing_token bigint not null,
  meter_ids integer[] not null check (cardinality(meter_ids) > 0),
  cost bigint not null check (cost >= 0),
  tokens bigint not null check (tokens >= 0),
  -- What its worker says that the attempt has spent so far, all in all; null: it has not said.
  spent_cost bigint check (spent_cost >= 0),
  spent_tokens bigint check (spent_tokens >= 0),
  -- With these a victim is chosen when a critical job needs the seat; null: it sits on none.
  seats_meter_id integer,
  priority smallint not null,
  lane_id integer not null,
  score float8 not null,
  is_preempted boolean not null default false
) with (fillfactor = 70);
create index hold_seat on hold (seats_meter_id, score, job_id) where seats_meter_id is not null;

-- Leases that let go of a meter and are not subtracted from it yet: whoever claims next does it. So ends of leases only
-- insert, and no meter is written by two of them.
create table hold_end (
  meter_id integer not null,
  job_id uuid not null,
  fencing_token bigint not null,
  at timestamptz not null default now(),
  cost bigint not null,
  tokens bigint not null,
  spent_cost bigint not null,
  spent_tokens bigint not null,
  primary key (meter_id, job_id, fencing_token)
);

-- Whichever statement ends the lease of a job, what it held ends in the same transaction, once (D18). An attempt whose
-- worker said what it spent is settled at that. One that was reported without a word is settled at its estimate, and one
-- that was taken away or given back is refunded.
create function end_hold() returns trigger language plpgsql set search_path = holdfast, pg_temp as $$
begin
  with gone as (
    delete from hold where job_id = new.id returning *,
      case when new.outcome_token = fencing_token and new.outcome_token is distinct from old.outcome_token
        then 1 else 0 end as is_reported
  )
  insert into hold_end (meter_id, job_id, fencing_token, cost, tokens, spent_cost, spent_tokens)
  select m, job_id, fencing_token, cost, tokens,
    coalesce(spent_cost, cost * is_reported), coalesce(spent_tokens, tokens * is_reported)
  from gone cross join lateral unnest(meter_ids) m;
  return null;
end $$;
revoke execute on function end_hold from public;
create trigger end_hold after update of state on job
  for each row when (old.is_metered and old.state = 5 and new.state <> 5) execute function end_hold();

-- When the window of a budget that is current at a time began; a meter without windows has one that began before all time.
create function window_start(settings jsonb, at timestamptz) returns timestamptz language sql stable parallel safe
  return case when settings ? 'window'
    then date_trunc(settings ->> 'window', at, settings ->> 'timeZone') else '-infinity'::timestamptz end;

-- When it ends.
create function window_end(settings jsonb, at timestamptz) returns timestamptz language sql stable parallel safe
  return case when settings ? 'window'
    then (date_trunc(settings ->> 'window', at at time zone (settings ->> 'timeZone'))
      + ('1 ' || (settings ->> 'window'))::interval) at time zone (settings ->> 'timeZone') end;

-- Meters as they stand, with what was let go and is not subtracted yet.
create view meter_level as
  select m.meter_id, m.tenant_id, m.declared_key, coalesce(g.settings, k.settings) as settings, g.type,
    coalesce(g.target, 'key:' || m.declared_key) as target,
    m.jobs - e.jobs as jobs, m.open_cost - e.cost as open_cost, m.open_tokens - e.tokens as open_tokens,
    w.began_at as window_began_at,
    case when m.window_began_at >= w.began_at then m.spent_cost else 0 end + e.spent_cost as spent_cost,
    case when m.window_began_at >= w.began_at then m.spent_tokens else 0 end + e.spent_tokens as spent_tokens,
    m.warned_window, m.exhausted_window,
    case when m.promised_until > now() then m.promised else 0 end as promised
  from meter m
  left join gate g on g.gate_id = m.meter_id
  left join gate k on k.tenant_id = m.tenant_id and k.type = 6 and k.target = 'key:' || m.declared_key
  cross join lateral (select window_start(g.settings, now()) as began_at) w
  cross join lateral (
    select count(*)::integer as jobs, coalesce(sum(h.cost), 0)::bigint as cost,
      coalesce(sum(h.tokens), 0)::bigint as tokens,
      coalesce(sum(h.spent_cost) filter (where isfinite(w.began_at) and h.at >= w.began_at), 0)::bigint as spent_cost,
      coalesce(sum(h.spent_tokens) filter (where isfinite(w.began_at) and h.at >= w.began_at), 0)::bigint as spent_tokens
    from hold_end h where h.meter_id = m.meter_id) e;

-- Spend that came from outside, each once.
create table accrual (
  tenant_id integer not null references tenant,
  request_id text not null,
  product text not null,
  at timestamptz not null default now(),
  cost bigint not null check (cost >= 0),
  tokens bigint not null check (tokens >= 0),
  note text not null,
  primary key (tenant_id, request_id)
);

-- A sixth purpose of timers: the grace of a preempted lease ends. (The fifth is a wait for a signal.)
alter table timer drop constraint timer_purpose_check;
alter table timer add constraint timer_purpose_check check (purpose between 1 and 6);
