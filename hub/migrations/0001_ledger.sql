-- The ledger: the one authority for every durable fact. docs/durability-contract.md numbers the promises (D1 …)
-- that the constraints below repeat. Numbers of states and events are those of hub/src/domain/job-state.ts.

create table tenant (
  tenant_id integer generated always as identity primary key,
  name text not null unique check (name ~ '^[a-z0-9-]{1,63}$'),
  created_at timestamptz not null default now()
);
insert into tenant (name) values ('default');

-- A lane: jobs that look alike to the scheduler but for their age. Lanes come in pairs; retried and returned
-- jobs wait in the twin, so the first one's order never breaks.
create table lane (
  lane_id integer generated always as identity primary key,
  tenant_id integer not null references tenant,
  product text not null,
  queue text not null,
  kind text not null,
  priority smallint not null check (priority between 1 and 4),
  capabilities text[] not null,
  is_retry boolean not null,
  -- The twin; null in a retry lane.
  retry_lane_id integer references lane,
  -- Every job of this lane that was ever ready has been claimed or has left, up to this place. Where a hub that
  -- starts begins to look; rises, and is written a few times a minute.
  low_key bigint not null default 0,
  unique (tenant_id, product, queue, kind, priority, capabilities, is_retry)
) with (fillfactor = 50);

-- One row per life of a hub. It numbers the pages of events that this life wrote.
create table writer (
  writer_id integer generated always as identity primary key,
  hub_version text not null,
  host text not null,
  started_at timestamptz not null default now(),
  ended_at timestamptz
);

-- Jobs, with the lease on the row: no index covers a column that a claim or a report changes, so both are
-- heap-only updates (fillfactor 45 leaves each page room for one new version of all its rows; docs/adr/0003).
-- Ids are UUIDv7, so ranges of ids are ranges of time: partitions are days, dropped when they are old.
create table job (
  id uuid not null primary key,
  tenant_id integer not null,
  lane_id integer not null,
  -- Place in the lane, in microseconds since 1970; rises in order of readiness.
  ready_key bigint not null,
  submitted_at timestamptz not null,
  ready_at timestamptz not null,
  attempts_max smallint not null check (attempts_max between 1 and 1000),
  state smallint not null check (state between 1 and 8),
  attempt smallint not null default 0 check (attempt >= 0),
  revision integer not null default 1,
  fencing_token bigint not null default 0,
  -- Where the newest event and the one before it were written: the head of the job's history.
  page_at timestamptz not null,
  page_batch bigint not null,
  page_writer integer not null,
  prior_writer integer,
  prior_at timestamptz,
  prior_batch bigint,
  session_id uuid,
  delivery bigint,
  -- A cancel with grace: the lease stands until then.
  cancel_by timestamptz,
  run_at timestamptz,
  deadline timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  -- The newest accepted report: its fencing token and fingerprint tell DUPLICATE from STALE (D5).
  outcome_token bigint,
  outcome_fingerprint bigint,
  checkpoint_sequence bigint not null default 0,
  checkpoint_bytes integer not null default 0,
  progress jsonb,
  -- {"type": "failure" | "cancelled", …}; a success is its result.
  outcome jsonb,
  result bytea,
  result_content_type text,
  -- From here on nothing changes after the submit. An update logs what lies between its first and its last changed
  -- byte, so what is large and constant comes last.
  content_type text,
  -- Labels, retry policy and the like; null when all are defaults.
  options jsonb,
  payload bytea not null,
  constraint job_leased_by_session check ((state = 5) = (session_id is not null)),
  constraint job_finished_when_terminal check ((state >= 6) = (finished_at is not null)),
  constraint job_attempts_bounded check (attempt <= attempts_max)
) partition by range (id);

create index job_lane on job (lane_id, ready_key);

-- The state that a report leads to: a retry is not granted to a job that is being cancelled or has no attempt
-- left, whatever the hub proposed (D8).
create function settled_state(proposed smallint, is_cancelling boolean, attempt smallint, attempts_max smallint)
  returns smallint language sql immutable parallel safe
  return case when proposed <> 2 then proposed
              when is_cancelling then 8::smallint
              when attempt >= attempts_max then 7::smallint
              else proposed end;

-- The state of a job whose lease went back: ready again, unless it was being cancelled or has no attempt left.
create function returned_state(is_cancelling boolean, attempt integer, attempts_max smallint)
  returns smallint language sql immutable parallel safe
  return case when is_cancelling then 8::smallint
              when attempt >= attempts_max then 7::smallint
              else 3::smallint end;

-- One session per attachment of a worker. Epoch fences streams: a newer attach supersedes the older.
create table session (
  session_id uuid primary key,
  tenant_id integer not null,
  key_id text not null,
  subject text not null,
  worker_name text not null,
  -- {"kinds": [], "capabilities": [], "products": [], "queues": []}
  profile jsonb not null,
  -- 1 live, 2 expired (its leases are going back), 3 closed.
  state smallint not null default 1 check (state between 1 and 3),
  epoch integer not null default 1,
  writer_id integer not null,
  attached_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  delivered_through bigint not null default 0,
  is_draining boolean not null default false,
  last_request_id text,
  last_request_delivery bigint
) with (fillfactor = 50);

-- Which leases went into which message to a session: how the jobs of a lost session are found without an index
-- on the lease. A row goes when all its jobs are done.
create table delivery (
  session_id uuid not null,
  delivery bigint not null,
  job_ids uuid[] not null,
  primary key (session_id, delivery)
);

-- What has to happen at a time: 1 a scheduled job becomes ready, 2 a deadline passes, 3 a cancel's grace ends.
create table timer (
  purpose smallint not null check (purpose between 1 and 3),
  due_at timestamptz not null,
  job_id uuid not null,
  -- What must still hold: the job's revision (purpose 1) or fencing token (purpose 3); unused for 2.
  guard bigint not null,
  primary key (purpose, due_at, job_id)
);

create table idempotency (
  tenant_id integer not null,
  key text not null,
  job_id uuid not null,
  content_digest bytea not null,
  primary key (tenant_id, key)
);

create table checkpoint (
  job_id uuid primary key,
  sequence bigint not null,
  fencing_token bigint not null,
  state bytea not null,
  saved_at timestamptz not null default now()
);

-- One state change. Kept in pages: all changes that one group commit of one writer made (docs/adr/0004).
create type event_item as (
  job_id uuid,
  type smallint,
  state smallint,
  revision integer,
  attempt smallint,
  fencing_token bigint,
  session_id uuid,
  reason text,
  prior_at timestamptz,
  prior_writer integer,
  prior_batch bigint
);

-- Pages of one writer are numbered 1, 2, 3 … without a gap; a number that came to nothing is an empty page. The id
-- of an event is writer-batch-ordinal.
create table event_page (
  at timestamptz not null,
  writer_id integer not null,
  batch bigint not null,
  items event_item[] not null,
  primary key (writer_id, batch, at)
) partition by range (at);
alter table event_page alter column items set storage external;

create view event as
  select p.at, p.writer_id, p.batch, e.ordinal, e.job_id, e.type, e.state, e.revision, e.attempt,
         e.fencing_token, e.session_id, e.reason
  from event_page p
  cross join lateral unnest(p.items) with ordinality
    as e (job_id, type, state, revision, attempt, fencing_token, session_id, reason,
          prior_at, prior_writer, prior_batch, ordinal);

create table api_key (
  key_id text primary key,
  tenant_id integer not null references tenant,
  subject text not null,
  scopes text[] not null check (cardinality(scopes) > 0),
  kinds text[] not null,
  secret_hash bytea not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);

-- The smallest UUIDv7 of a time: what partitions of jobs begin and end with.
create function uuid_floor(at timestamptz) returns uuid
  language sql immutable strict parallel safe
  return (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid;

-- Makes the daily partitions that are missing from yesterday to `days_ahead` days from now (UTC).
create function ensure_partitions(days_ahead integer) returns void
  language plpgsql as $$
declare
  today timestamptz := date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
  day timestamptz;
begin
  perform pg_advisory_xact_lock(hashtext('holdfast.ensure_partitions'));
  for step in -1 .. days_ahead loop
    day := today + make_interval(days => step);
    execute format(
      'create table if not exists %I partition of job for values from (%L) to (%L) with (fillfactor = 45)',
      'job_' || to_char(day at time zone 'UTC', 'YYYYMMDD'), uuid_floor(day), uuid_floor(day + interval '1 day'));
    execute format(
      'create table if not exists %I partition of event_page for values from (%L) to (%L)',
      'event_page_' || to_char(day at time zone 'UTC', 'YYYYMMDD'), day, day + interval '1 day');
  end loop;
end $$;
