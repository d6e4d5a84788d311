-- Submitting from SQL (docs/adr/0023): an application enqueues in a transaction of its own, hubs adopt what it committed.

-- Which roles submit for which tenant; roles that are not named here submit for tenant "default", any kind.
create table inbox_role (
  role_name name primary key,
  tenant_id integer not null references tenant,
  -- Null: all kinds.
  kinds text[]
);

-- What was submitted and is no job yet. A hub that adopts an entry deletes it in the transaction that makes the job.
create table inbox (
  position bigint generated always as identity primary key,
  -- The id that the job will have.
  job_id uuid not null unique,
  tenant_id integer not null references tenant,
  submitted_by name not null,
  submitted_at timestamptz not null,
  kind text not null,
  product text not null,
  queue text not null,
  priority smallint not null check (priority between 1 and 4),
  capabilities text[] not null,
  labels jsonb not null,
  idempotency_key text not null,
  run_at timestamptz,
  deadline timestamptz,
  -- {"maxAttempts": …, "initialBackoffMs": …, "factor": …, "maxBackoffMs": …}, each only if it was given.
  retry jsonb,
  content_type text not null,
  -- Why hubs cannot adopt it: kept until an operator retries or discards it.
  refused_at timestamptz,
  refusal jsonb,
  payload bytea not null,
  constraint inbox_refused_for_reason check ((refused_at is null) = (refusal is null))
);
create index inbox_waiting on inbox (position) where refused_at is null;

create function require_valid(is_valid boolean, field text, rule text) returns void language plpgsql as $$
begin
  if is_valid is not true then
    raise exception 'INVALID_FIELD: % %', field, rule using errcode = 'invalid_parameter_value';
  end if;
end $$;

create function interval_ms(span interval) returns float8 language sql immutable
  return ceil(extract(epoch from span) * 1000);

-- Enqueues a job in the caller's transaction: once that commits, a hub makes the job; rolled back, it never was. Answers
-- the id of the job. With an idempotency key that was used before, that of the first job, as far as can be seen here.
create function submit(
  kind text,
  payload jsonb default null,
  product text default 'default',
  queue text default 'default',
  priority text default 'normal',
  capabilities text[] default '{}',
  labels jsonb default '{}',
  idempotency_key text default '',
  run_at timestamptz default null,
  deadline timestamptz default null,
  max_attempts integer default null,
  initial_backoff interval default null,
  backoff_factor float8 default null,
  max_backoff interval default null,
  payload_bytes bytea default null,
  content_type text default null
) returns uuid
  language plpgsql security definer set search_path = holdfast, pg_temp as $$
#variable_conflict use_variable
declare
  name_form constant text := '^[a-z0-9][a-z0-9._-]{0,127}$';
  name_rule constant text := 'must be 1 to 128 characters of a-z 0-9 . _ -, starting with a letter or digit';
  at constant timestamptz := clock_timestamp();
  rank constant integer := array_position(array['low', 'normal', 'high', 'critical'], priority);
  bytes constant bytea := coalesce(payload_bytes, convert_to(payload::text, 'UTF8'), '');
  role inbox_role;
  tenant integer;
  known uuid;
  id uuid;
begin
  select r.* into role from inbox_role r where r.role_name = session_user;
  tenant := coalesce(role.tenant_id, (select t.tenant_id from tenant t where t.name = 'default'));
  if not kind = any (coalesce(role.kinds, array[kind])) then
    raise exception 'KIND_NOT_ALLOWED: role % may not submit jobs of kind %', session_user, kind
      using errcode = 'insufficient_privilege';
  end if;
  perform require_valid(kind ~ name_form, 'kind', name_rule);
  perform require_valid(product ~ name_form, 'product', name_rule);
  perform require_valid(queue ~ name_form, 'queue', name_rule);
  perform require_valid(rank is not null, 'priority', 'must be low, normal, high or critical');
  perform require_valid(cardinality(capabilities) <= 16 and not exists (
      select from unnest(capabilities) c where (c ~ name_form) is not true),
    'capabilities', 'must be at most 16 names');
  perform require_valid(payload is null or payload_bytes is null, 'payload_bytes', 'must not come with payload');
  perform require_valid(octet_length(bytes) <= 16777216, 'payload', 'must have at most 16777216 bytes');
  perform require_valid(octet_length(coalesce(content_type, '')) <= 128, 'content_type', 'must have at most 128 bytes');
  perform require_valid(octet_length(idempotency_key) <= 256, 'idempotency_key', 'must have at most 256 bytes');
  perform require_valid(jsonb_typeof(labels) = 'object', 'labels', 'must be a JSON object');
  perform require_valid((select count(*) <= 100 and coalesce(bool_and(jsonb_typeof(l.value) = 'string'
        and octet_length(l.key) between 1 and 128 and octet_length(l.value #>> '{}') <= 1024), true)
      from jsonb_each(labels) l), 'labels', 'must be at most 100 texts of 1024 bytes, their keys 1 to 128 bytes');
  perform require_valid(coalesce(isfinite(run_at) and extract(year from run_at) between 2000 and 9998, true),
    'run_at', 'must be a time in the years 2000 to 9998');
  perform require_valid(coalesce(isfinite(deadline) and extract(year from deadline) between 2000 and 9998, true),
    'deadline', 'must be a time in the years 2000 to 9998');
  perform require_valid(coalesce(max_attempts between 1 and 1000, true), 'max_attempts', 'must be from 1 to 1000');
  perform require_valid(coalesce(initial_backoff between interval '0' and interval '24 hours', true),
    'initial_backoff', 'must be from 0 to 24 hours');
  perform require_valid(coalesce(backoff_factor between 1 and 100, true), 'backoff_factor', 'must be from 1 to 100');
  perform require_valid(coalesce(max_backoff between interval '0' and interval '168 hours', true),
    'max_backoff', 'must be from 0 to 7 days');
  id := new_job_id(at);
  insert into inbox (job_id, tenant_id, submitted_by, submitted_at, kind, product, queue, priority, capabilities, labels,
    idempotency_key, run_at, deadline, retry, content_type, payload)
  values (id, tenant, session_user, at, kind, product, queue, rank, capabilities, labels,
    idempotency_key, run_at, deadline,
    nullif(jsonb_strip_nulls(jsonb_build_object('maxAttempts', max_attempts, 'factor', backoff_factor,
      'initialBackoffMs', interval_ms(initial_backoff), 'maxBackoffMs', interval_ms(max_backoff))), '{}'),
    coalesce(content_type, case when payload is null then '' else 'application/json' end), bytes);
  if idempotency_key <> '' then
    select k.job_id into known from idempotency k where k.tenant_id = tenant and k.key = idempotency_key;
  end if;
  return coalesce(known, id);
end $$;

-- Tells hubs when a transaction that submitted commits, unless one looks anyway (it then shares this lock) or somebody
-- else is about to tell: telling holds up all commits that tell, and a hub that was told looks for a while.
create function inbox_wake() returns trigger
  language plpgsql security definer set search_path = holdfast, pg_temp as $$
begin
  if pg_try_advisory_xact_lock(1215261801, 0) then
    perform pg_notify('holdfast_inbox', '');
  end if;
  return null;
end $$;
create constraint trigger inbox_wake after insert on inbox
  deferrable initially deferred for each row execute function inbox_wake();

-- Lets a role submit, for a tenant and, if they are named, only certain kinds.
create function allow_submit(role_name name, tenant text default 'default', kinds text[] default null) returns void
  language plpgsql as $$
#variable_conflict use_variable
declare
  tenant_id constant integer := (select t.tenant_id from holdfast.tenant t where t.name = tenant);
begin
  if tenant_id is null then
    raise exception 'there is no tenant %', tenant using errcode = 'invalid_parameter_value';
  end if;
  execute format('grant usage on schema holdfast to %I', role_name);
  execute format('grant execute on function holdfast.submit to %I', role_name);
  insert into holdfast.inbox_role as r values (role_name, tenant_id, kinds)
    on conflict on constraint inbox_role_pkey do update set tenant_id = excluded.tenant_id, kinds = excluded.kinds;
end $$;

-- Whoever may use the schema may call what is granted, and nothing else.
revoke execute on all functions in schema holdfast from public;

-- A job that was submitted while no hub ran belongs into the partition of its day, which nobody made.
create function ensure_job_partition(at timestamptz) returns void
  language plpgsql as $$
declare
  day timestamptz := date_trunc('day', at at time zone 'UTC') at time zone 'UTC';
  name text := 'job_' || to_char(day at time zone 'UTC', 'YYYYMMDD');
begin
  if to_regclass('holdfast.' || name) is not null then return; end if;
  perform pg_advisory_xact_lock(hashtext('holdfast.ensure_partitions'));
  execute format('create table if not exists %I partition of job for values from (%L) to (%L) with (fillfactor = 45)',
    name, uuid_floor(day), uuid_floor(day + interval '1 day'));
end $$;
revoke execute on function ensure_job_partition from public;
