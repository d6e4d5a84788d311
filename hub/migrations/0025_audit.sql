-- Sealed history of what operators changed (D22): each seal is signed, names the one before it by its digest, and holds a
-- digest of the operations that it seals.

create table audit_seal (
  tenant_id integer not null references tenant,
  -- 1, 2, 3 …, without a gap.
  number bigint not null check (number > 0),
  -- A JWS in compact form (RFC 7515); the chain is inside it.
  seal text not null,
  primary key (tenant_id, number)
);

alter table operation
  -- The seal that this operation is in; null until there is one. Operations commit in another order than their ids.
  add column seal_number bigint;

create index operation_unsealed on operation (tenant_id, operation_id) where seal_number is null;
create index operation_of_seal on operation (tenant_id, seal_number, operation_id);
