-- Event-time windows, schedules and backfills (docs/schedules.md, docs/adr/0029). Numbers of states are those of
-- hub/src/domain/backfill.ts.

-- Where work over event time comes from.
create table event_source (
  tenant_id integer not null,
  source text not null,
  -- Where the watermark begins: at the start of the window that was declared first.
  origin_at timestamptz not null,
  -- What is done, but for windows that are done and not folded in yet (event_window).
  done tstzmultirange not null default '{}',
  -- Rises when a backfill submits windows: tells another backfill that looked before that it looked too early.
  turn bigint not null default 0,
  primary key (tenant_id, source)
);

-- Windows that jobs declared: of open jobs, of dead letters, and done ones for a moment until they are folded into
-- their source, which keeps few ranges however many windows there were.
create table event_window (
  tenant_id integer not null,
  source text not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  job_id uuid not null,
  -- 1 open, 2 done, 3 failed.
  state smallint not null check (state between 1 and 3),
  primary key (tenant_id, source, from_at, job_id),
  constraint event_window_not_empty check (from_at < to_at)
);
create index event_window_done on event_window (tenant_id, source, from_at) where state = 2;
create index event_window_job on event_window (job_id);

create table backfill (
  backfill_id uuid primary key,
  tenant_id integer not null references tenant,
  source text not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  step_ms bigint not null check (step_ms > 0),
  in_flight_max integer not null check (in_flight_max > 0),
  -- Null: as fast as in_flight_max allows.
  per_minute_max integer check (per_minute_max > 0),
  -- What its jobs are made of, but for the payload.
  job jsonb not null,
  payload bytea not null,
  -- 1 running, 2 paused, 3 cancelled, 4 finished.
  state smallint not null default 1 check (state between 1 and 4),
  -- Once it is cancelled: what its open jobs are given to stop. Null: they go on.
  cancel_grace_ms integer,
  -- Rises with every change; who read an older one changes nothing.
  revision bigint not null default 1,
  next_submit_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  created_by text not null,
  ended_at timestamptz,
  constraint backfill_not_empty check (from_at < to_at),
  constraint backfill_ended check ((state >= 3) = (ended_at is not null))
) with (fillfactor = 70);
create index backfill_newest on backfill (tenant_id, backfill_id desc);
create index backfill_active on backfill (backfill_id) where state = 1 or cancel_grace_ms is not null;

create table backfill_window (
  backfill_id uuid not null references backfill on delete cascade,
  from_at timestamptz not null,
  to_at timestamptz not null,
  -- 1 waiting, 2 submitted, 3 done, 4 failed, 5 skipped, 6 cancelled.
  state smallint not null check (state between 1 and 6),
  job_id uuid,
  primary key (backfill_id, from_at),
  constraint backfill_window_job check ((state in (2, 3, 4)) <= (job_id is not null))
);
create index backfill_window_state on backfill_window (backfill_id, state, from_at);

-- Whichever statement submits or ends a job that declared a window, the window is known to be open or done in the same
-- transaction. The conditions of the triggers look at the row alone, so other jobs pay next to nothing.
create function keep_event_window() returns trigger language plpgsql set search_path = holdfast, pg_temp as $$
declare
  declared constant jsonb := new.options -> 'window';
  begins constant timestamptz := to_timestamp((declared ->> 'fromMs')::float8 / 1000);
  ends constant timestamptz := to_timestamp((declared ->> 'toMs')::float8 / 1000);
begin
  if tg_op = 'INSERT' then
    insert into event_source (tenant_id, source, origin_at) values (new.tenant_id, declared ->> 'source', begins)
    on conflict do nothing;
  end if;
  if new.state = 8 then
    delete from event_window
    where tenant_id = new.tenant_id and source = declared ->> 'source' and from_at = begins and job_id = new.id;
  else
    insert into event_window as w (tenant_id, source, from_at, to_at, job_id, state)
    values (new.tenant_id, declared ->> 'source', begins, ends, new.id,
      case new.state when 6 then 2 when 7 then 3 else 1 end)
    on conflict (tenant_id, source, from_at, job_id) do update set state = excluded.state
      where w.state <> excluded.state;
  end if;
  if tg_op = 'UPDATE' and declared ? 'backfillId' then
    update backfill_window
    set state = case new.state when 6 then 3 when 7 then 4 when 8 then 6 else 2 end
    where backfill_id = (declared ->> 'backfillId')::uuid and from_at = begins and job_id = new.id;
  end if;
  return null;
end $$;
revoke execute on function keep_event_window from public;
create trigger open_event_window after insert on job
  for each row when (new.options ? 'window') execute function keep_event_window();
create trigger end_event_window after update of state on job
  for each row when (old.state <> new.state and (old.state >= 6 or new.state >= 6) and new.options ? 'window')
  execute function keep_event_window();

create table schedule (
  schedule_id uuid primary key,
  tenant_id integer not null references tenant,
  name text not null,
  -- Cadence, policies and what its jobs are made of, but for the payload (hub/src/domain/schedule.ts).
  spec jsonb not null,
  payload bytea not null,
  paused_at timestamptz,
  pause_reason text,
  -- Rises with every change and every firing; who read an older one changes nothing.
  revision bigint not null default 1,
  -- The next time of its cadence, null after the last; and the one before, where the window of the next begins.
  next_at timestamptz,
  prior_at timestamptz,
  -- A time that passed while a job was open, and waits for its end.
  waiting_at timestamptz,
  waiting_prior_at timestamptz,
  -- The newest job, and for which time it was made.
  last_job_id uuid,
  last_at timestamptz,
  fired bigint not null default 0,
  -- Times that the overlap policy let pass.
  skipped bigint not null default 0,
  -- Times that passed while no hub ran, and were let pass.
  missed bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (tenant_id, name),
  constraint schedule_paused_for_reason check ((paused_at is null) = (pause_reason is null))
) with (fillfactor = 70);
create index schedule_due on schedule (next_at) where paused_at is null;
create index schedule_waiting on schedule (waiting_at) where paused_at is null and waiting_at is not null;
