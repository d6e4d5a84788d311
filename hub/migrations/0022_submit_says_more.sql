-- A time to start by and a unique key for jobs that are submitted from SQL. As the hub keeps them: {"startByMs", "unique"}.
alter table inbox add column options jsonb not null default '{}';

-- holdfast.submit() takes these, and source and share, too. Two functions of that name would leave calls of either
-- ambiguous, so the new one takes the place of the old, and whoever may call that may call this.
create temporary table may_submit on commit drop as
  select a.grantee, a.is_grantable from pg_proc p cross join lateral aclexplode(p.proacl) a
  where p.pronamespace = 'holdfast'::regnamespace and p.proname = 'submit' and a.grantee not in (0, p.proowner);
drop function submit;

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
  content_type text default null,
  source text default '',
  fairness_key text default '',
  fairness_weight integer default 1,
  start_by timestamptz default null,
  unique_key text default '',
  unique_policy text default 'existing'
) returns uuid
  language plpgsql security definer set search_path = holdfast, pg_temp as $$
#variable_conflict use_variable
declare
  name_form constant text := '^[a-z0-9][a-z0-9._-]{0,127}$';
  name_rule constant text := 'must be 1 to 128 characters of a-z 0-9 . _ -, starting with a letter or digit';
  at constant timestamptz := clock_timestamp();
  rank constant integer := array_position(array['low', 'normal', 'high', 'critical'], priority);
  policy constant integer := array_position(array['existing', 'refuse', 'replace'], unique_policy);
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
  perform require_valid(source = '' or source ~ '^[a-z0-9][a-z0-9._:/-]{0,127}$', 'source',
    'must be 1 to 128 characters of a-z 0-9 . _ : / -, starting with a letter or digit');
  perform require_valid(fairness_key = '' or fairness_key ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$', 'fairness_key',
    'must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -, starting with a letter or digit');
  perform require_valid(fairness_weight between 1 and 1000, 'fairness_weight', 'must be from 1 to 1000');
  perform require_valid(fairness_key <> '' or fairness_weight = 1, 'fairness_weight', 'must not come without fairness_key');
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
  perform require_valid(coalesce(isfinite(start_by) and extract(year from start_by) between 2000 and 9998, true),
    'start_by', 'must be a time in the years 2000 to 9998');
  perform require_valid(octet_length(unique_key) <= 256, 'unique_key', 'must have at most 256 bytes');
  perform require_valid(policy is not null, 'unique_policy', 'must be existing, refuse or replace');
  perform require_valid(unique_key <> '' or policy = 1, 'unique_policy', 'must not come without unique_key');
  perform require_valid(coalesce(max_attempts between 1 and 1000, true), 'max_attempts', 'must be from 1 to 1000');
  perform require_valid(coalesce(initial_backoff between interval '0' and interval '24 hours', true),
    'initial_backoff', 'must be from 0 to 24 hours');
  perform require_valid(coalesce(backoff_factor between 1 and 100, true), 'backoff_factor', 'must be from 1 to 100');
  perform require_valid(coalesce(max_backoff between interval '0' and interval '168 hours', true),
    'max_backoff', 'must be from 0 to 7 days');
  id := new_job_id(at);
  insert into inbox (job_id, tenant_id, submitted_by, submitted_at, kind, product, queue, priority, capabilities, labels,
    idempotency_key, run_at, deadline, retry, content_type, payload, source, fairness_key, fairness_weight, options)
  values (id, tenant, session_user, at, kind, product, queue, rank, capabilities, labels,
    idempotency_key, run_at, deadline,
    nullif(jsonb_strip_nulls(jsonb_build_object('maxAttempts', max_attempts, 'factor', backoff_factor,
      'initialBackoffMs', interval_ms(initial_backoff), 'maxBackoffMs', interval_ms(max_backoff))), '{}'),
    coalesce(content_type, case when payload is null then '' else 'application/json' end), bytes,
    source, fairness_key, fairness_weight,
    jsonb_strip_nulls(jsonb_build_object('startByMs', floor(extract(epoch from start_by) * 1000),
      'unique', case when unique_key <> '' then jsonb_build_object('key', unique_key, 'policy', policy) end)));
  if idempotency_key <> '' then
    select k.job_id into known from idempotency k where k.tenant_id = tenant and k.key = idempotency_key;
  end if;
  return coalesce(known, id);
end $$;

revoke execute on function submit from public;
do $$
declare
  one record;
begin
  for one in select pg_get_userbyid(grantee) as role_name, is_grantable from may_submit loop
    execute format('grant execute on function holdfast.submit to %I', one.role_name)
      || case when one.is_grantable then ' with grant option' else '' end;
  end loop;
end $$;
