-- Two more dimensions of a lane: what outside service its work calls, and whose share of the service it takes.
alter table lane
  -- Empty: none. Throttles and breakers are kept per tenant and source.
  add column source text not null default '',
  -- Empty: nobody's in particular (docs/adr/0026).
  add column fairness_key text not null default '',
  -- Share of the fairness key relative to others': the newest weight that a submit declared for the lane.
  add column fairness_weight integer not null default 1 check (fairness_weight between 1 and 1000),
  -- When it changed after the lane was made, for hubs that know the lane already.
  add column weight_declared_at timestamptz;
alter table lane
  drop constraint lane_tenant_id_product_queue_kind_priority_capabilities_is__key,
  add constraint lane_key
    unique (tenant_id, product, queue, kind, priority, capabilities, source, fairness_key, is_retry);
create index lane_weight_declared on lane (weight_declared_at) where weight_declared_at is not null;

alter table inbox
  add column source text not null default '',
  add column fairness_key text not null default '',
  add column fairness_weight integer not null default 1 check (fairness_weight between 1 and 1000);
