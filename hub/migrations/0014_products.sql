-- What operators set for products. A product that nobody set anything for has no row, or an empty one.
create table product (
  tenant_id integer not null references tenant,
  name text not null,
  -- {"age": …, "priority": …, "retries": …, "capabilities": …}, each only if it was set (hub/src/domain/score.ts).
  weights jsonb not null default '{}',
  -- By this, hubs find what was changed since they last looked.
  changed_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, name)
);
create index product_changed on product (changed_at);

-- A fairness key has one weight, which stands in all its lanes: in new lanes that other hubs made, the newest is right.
update lane set weight_declared_at = now() where weight_declared_at is null;
alter table lane
  alter column weight_declared_at set default now(),
  alter column weight_declared_at set not null;
drop index lane_weight_declared;
create index lane_weight_declared on lane (weight_declared_at) where fairness_key <> '';
