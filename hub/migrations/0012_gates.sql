-- Gates: what may keep a ready job from starting (docs/adr/0027). Numbers of types are those of hub/src/domain/gate.ts.

create table gate (
  gate_id integer generated always as identity primary key,
  tenant_id integer not null references tenant,
  type smallint not null check (type between 1 and 8),
  -- What it holds back: tenant, product:NAME, queue:PRODUCT/NAME, source:NAME or key:NAME.
  target text not null,
  -- As an operator set it.
  settings jsonb not null,
  -- What the hubs made of it since: levels, counts, the like.
  state jsonb not null default '{}',
  -- When the settings were made.
  since timestamptz not null default now(),
  unique (tenant_id, type, target)
) with (fillfactor = 50);

-- Rises with every change by which a gate may shut or open. A claim says which epoch its hub knows, and grants nothing
-- under an older one: so a gate that was shut is shut for every hub (docs/durability-contract.md).
create table gate_epoch (
  is_only boolean primary key default true check (is_only),
  epoch bigint not null
) with (fillfactor = 50);
insert into gate_epoch (epoch) values (1);

-- Jobs in state 4 that a gate stopped.
create table parked (
  job_id uuid primary key,
  gate_id integer not null,
  reason text not null,
  since timestamptz not null default now(),
  -- When it is worth looking again; null when only the gate knows.
  next_at timestamptz,
  -- Jobs return to their lanes in this order, the highest first.
  score float8 not null
);
create index parked_at_gate on parked (gate_id, score desc, job_id);

-- Whichever statement takes a job out of state 4, its row goes in the same transaction.
create function leave_gate() returns trigger language plpgsql set search_path = holdfast, pg_temp as $$
begin
  delete from parked where job_id = new.id;
  return null;
end $$;
revoke execute on function leave_gate from public;
create trigger leave_gate after update of state on job
  for each row when (old.state = 4 and new.state <> 4) execute function leave_gate();
