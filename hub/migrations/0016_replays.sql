-- Replays (docs/adr/0036): ended jobs that were submitted once more. A job that repeats another says so in its options,
-- {"replay": {"id", "jobId", "originId"}}; rows of plain jobs are as they were.

create table replay (
  -- The new job, or the new run's first one.
  replay_id uuid primary key,
  tenant_id integer not null,
  request_id text collate "C" not null check (octet_length(request_id) between 1 and 128),
  original_id uuid not null,
  is_run boolean not null,
  jobs integer not null check (jobs > 0),
  repeats_effects boolean not null,
  reason text not null,
  requested_by text not null,
  requested_at timestamptz not null default now(),
  unique (tenant_id, request_id)
);

-- What each original had come to: the comparison outlives it.
create table replay_job (
  replay_id uuid not null,
  job_id uuid not null,
  original_id uuid not null,
  -- The job that was submitted first, over any number of replays.
  origin_id uuid not null,
  -- Of the original.
  state smallint not null check (state between 6 and 8),
  digest bytea not null,
  primary key (replay_id, original_id)
);
create index replay_job_origin on replay_job (replay_id, origin_id);

-- Digest of what a job ended with (holdfast.v1.ReplayedJob says how anybody can make it).
create function outcome_digest(state smallint, outcome jsonb, result bytea, result_content_type text) returns bytea
  language sql immutable parallel safe
  return sha256(case state
    when 6 then 'success\000'::bytea || convert_to(coalesce(nullif(result_content_type, ''),
      'application/octet-stream'), 'UTF8') || '\000'::bytea || coalesce(result, '')
    when 7 then 'failure\000'::bytea || convert_to(coalesce(outcome ->> 'code', ''), 'UTF8')
    else 'cancelled'::bytea end);
