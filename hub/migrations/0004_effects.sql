-- Effects (D16, D17): what is done outside, claimed before and completed after. Numbers of states are those of
-- hub/src/domain/effect.ts.

create table effect (
  tenant_id integer not null,
  -- The job that it belongs to; all zeros for an effect of a scope.
  job_id uuid not null,
  -- A free name for effects of no job; empty for an effect of a job.
  scope text collate "C" not null,
  key text collate "C" not null check (octet_length(key) between 1 and 256),
  -- 1 open, 2 held, 3 completed.
  state smallint not null check (state between 1 and 3),
  -- Rises with every grant.
  effect_token bigint not null default 1 check (effect_token > 0),
  -- The holder, or the last one: repeating its request repeats the grant.
  subject text not null,
  session_id uuid,
  request_id text not null,
  claimed_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- Granted over the head of a holder that never said how it ended.
  is_taken_over boolean not null default false,
  completed_at timestamptz,
  -- SHA-256 of content type and result: tells the same completion from another.
  fingerprint bytea,
  content_type text,
  -- The newest time that somebody gave it up.
  abandoned_at timestamptz,
  abandoned_by text,
  abandon_reason text,
  result bytea,
  primary key (tenant_id, job_id, scope, key),
  constraint effect_has_one_owner check ((job_id = '00000000-0000-0000-0000-000000000000') = (scope <> '')),
  constraint effect_completed_with_result check (
    (state = 3) = (completed_at is not null) and (state = 3) = (fingerprint is not null)
    and (state = 3) = (result is not null)),
  constraint effect_abandoned_for_reason check ((abandoned_at is null) = (abandon_reason is null))
) with (fillfactor = 70);

-- How many notes a job ever had; one row, so that numbers are given out one after the other.
create table job_summary (
  job_id uuid primary key,
  notes bigint not null check (notes > 0)
) with (fillfactor = 70);

-- The newest notes of a job, for people only: a ring, in which a new note takes the place of the oldest.
create table job_note (
  job_id uuid not null,
  slot smallint not null check (slot between 0 and 255),
  number bigint not null,
  -- 1 effect completed, 2 effect abandoned; those of hub/src/domain/job-note.ts.
  type smallint not null,
  name text not null,
  bytes integer not null,
  at timestamptz not null default now(),
  primary key (job_id, slot)
) with (fillfactor = 70);
