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

-- A UUIDv7 whose random bits begin with what the time has beyond milliseconds (RFC 9562, 6.2, method 3): operations that
-- follow each other are in order.
create function new_operation_id() returns uuid language sql volatile
  return (select (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex((us % 1000) * 4096 / 1000), 3, '0')
      || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
    from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as us) now);

create index operation_newest on operation (tenant_id, operation_id desc);
