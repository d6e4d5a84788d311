-- Runs (docs/runs.md, docs/adr/0022): jobs that wait for others, and jobs that undo others. Numbers of policies are
-- those of hub/src/domain/run.ts. Whoever changes a run holds the lock on its row, taken before any job of it.

-- Null: nobody waits for the job and nothing undoes it, so that its end is nobody else's business. Rules out the
-- statements of plain jobs for all others.
alter table job add column is_linked boolean;

create table run (
  -- The run's first job; with a policy, the parent of its children.
  run_id uuid primary key,
  tenant_id integer not null,
  -- 1 fail fast, 2 continue, 3 wait for all; null: it has no children.
  policy smallint check (policy between 1 and 3),
  stop_grace_ms integer not null default 0,
  jobs integer not null,
  children_failed integer not null default 0,
  -- Its children were told to stop.
  is_stopping boolean not null default false
) with (fillfactor = 50);

-- A job's place in a run.
create table run_node (
  job_id uuid primary key,
  run_id uuid not null,
  is_child boolean not null,
  -- Dependencies, and for a parent children, that have not ended.
  waits_for integer not null check (waits_for >= 0),
  -- The terminal state in which it was counted; once, whatever becomes of the job afterwards.
  ended_as smallint check (ended_as between 6 and 8)
) with (fillfactor = 50);
create index run_node_run on run_node (run_id, job_id);

create table run_edge (
  job_id uuid not null,
  dependent_id uuid not null,
  is_hard boolean not null,
  primary key (job_id, dependent_id)
);
create index run_edge_dependent on run_edge (dependent_id, job_id);

-- What undoes a job, until it is made and afterwards.
create table compensation (
  job_id uuid primary key,
  on_run_failure boolean not null,
  made_job_id uuid,
  tenant_id integer not null,
  lane_id integer not null,
  attempts_max smallint not null check (attempts_max between 1 and 1000),
  content_type text,
  options jsonb,
  payload bytea not null
);

-- An id like those that hubs make, a UUIDv7, for jobs that are made here.
create function new_job_id(at timestamptz default clock_timestamp()) returns uuid language sql volatile
  return overlay(replace(gen_random_uuid()::text, '-', '')
    placing lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '7' from 1 for 13)::uuid;
