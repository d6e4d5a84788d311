-- Meters: how much of a gate's limit is taken (docs/adr/0031). A cap, a budget and a number of seats are gates with a meter
-- each; a key that jobs declare has one without a gate of its own.

-- Meters that the current lease counts at or, while there is none, that the last one did. Of each it holds a place and the
-- job's estimate. Null: none, so that its end is no meter's business.
alter table job add column meter_ids integer[];

create function estimated_cost(options jsonb) returns bigint language sql immutable parallel safe
  return coalesce((options #>> '{estimate,costMicroUsd}')::bigint, 0);
create function estimated_tokens(options jsonb) returns bigint language sql immutable parallel safe
  return coalesce((options #>> '{estimate,tokens}')::bigint, 0);

-- What leases hold. For looking: it walks all jobs.
create view hold as
  select id as job_id, fencing_token, meter_ids, estimated_cost(options) as cost, estimated_tokens(options) as tokens
  from job where state = 5 and meter_ids is not null;

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

-- Leases that sit on seats which critical jobs may take from them. A row goes with its lease.
create table seat (
  job_id uuid primary key,
  fencing_token bigint not null,
  seats_meter_id integer not null,
  -- By these a victim is chosen.
  priority smallint not null,
  lane_id integer not null,
  score float8 not null,
  is_preempted boolean not null default false
) with (fillfactor = 70);
create index seat_victim on seat (seats_meter_id, score, job_id);

-- What workers said that attempts have spent so far, all in all. A row goes with its lease.
create table spend (
  job_id uuid primary key,
  fencing_token bigint not null,
  cost bigint not null check (cost >= 0),
  tokens bigint not null check (tokens >= 0)
) with (fillfactor = 70);

-- Leases that let go of a meter and are not subtracted from it yet: whoever claims next does it. So ends of leases only
-- insert, a row for each meter and statement, and no meter is written by two of them.
create table hold_end (
  meter_id integer not null,
  end_id bigint generated always as identity,
  at timestamptz not null default now(),
  jobs integer not null check (jobs > 0),
  -- What they held, what of it counts as spent, and what they spent, which may be more.
  cost bigint not null,
  tokens bigint not null,
  settled_cost bigint not null,
  settled_tokens bigint not null,
  spent_cost bigint not null,
  spent_tokens bigint not null,
  primary key (meter_id, end_id)
);

-- What a lease held ends in the transaction that ends the lease, once, whichever statement does (D18). Reports do it
-- themselves, for many at once (report-results.ts): an attempt is settled at what its worker said, or else at its
-- estimate. Everything else comes here: it takes leases away or gives them back, and what nobody said was spent is
-- refunded.
create function end_hold() returns trigger language plpgsql set search_path = holdfast, pg_temp as $$
begin
  with vacated as (
    delete from seat where job_id = old.id
  ), said as (
    delete from spend where job_id = old.id returning *
  )
  insert into hold_end (meter_id, jobs, cost, tokens, settled_cost, settled_tokens, spent_cost, spent_tokens)
  select m, 1, h.cost, h.tokens, least(h.cost, h.spent_cost), least(h.tokens, h.spent_tokens), h.spent_cost, h.spent_tokens
  from (
    select estimated_cost(old.options) as cost, estimated_tokens(old.options) as tokens,
      coalesce((select cost from said where fencing_token = old.fencing_token), 0) as spent_cost,
      coalesce((select tokens from said where fencing_token = old.fencing_token), 0) as spent_tokens) h
  cross join unnest(old.meter_ids) m;
  return null;
end $$;
revoke execute on function end_hold from public;
create trigger end_hold after update of state on job
  for each row when (old.meter_ids is not null and old.state = 5 and new.state <> 5
    and (new.state = 4 or new.outcome_token is not distinct from old.outcome_token))
  execute function end_hold();

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
    select coalesce(sum(h.jobs), 0)::integer as jobs, coalesce(sum(h.cost), 0)::bigint as cost,
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
