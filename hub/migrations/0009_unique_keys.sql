-- Unique keys (docs/adr/0025): at most one open job per tenant and key.

create table unique_key (
  tenant_id integer not null,
  key text collate "C" not null check (octet_length(key) between 1 and 256),
  -- The newest job that had the key: it has it as long as it is open. All zeros before the first.
  job_id uuid not null,
  -- Rises with every submit and revival that takes the key: tells who waited for the row that it is another by now.
  turn bigint not null default 0,
  primary key (tenant_id, key)
) with (fillfactor = 70);

-- Ends a statement that found its snapshot too old; whoever sent it sends it again.
create function try_again() returns text language plpgsql as $$
begin
  raise exception 'the statement came too late' using errcode = 'serialization_failure';
end $$;
revoke execute on function try_again from public;
