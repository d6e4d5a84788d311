-- What operators changed, when and why. A row is written in the very statement that makes the change, and stays.

create table operation (
  -- UUIDv7: rises in order of time.
  operation_id uuid primary key,
  tenant_id integer not null references tenant,
  at timestamptz not null default now(),
  -- Who: subject of the key; empty without keys.
  subject text not null,
  -- What: a verb of hub/src/domain/operation.ts.
  action text not null,
  -- On what, by name.
  target text not null,
  reason text not null,
  ticket text not null,
  -- What stood there and what stands there now; null where there was or is nothing.
  before jsonb,
  after jsonb
);
create index operation_newest on operation (tenant_id, operation_id desc);
