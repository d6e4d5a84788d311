-- A job is written three times: submitted, leased, reported. With room for three versions of all its rows on a page, none
-- has to move to another one while a transaction that somebody holds open keeps the old versions (docs/adr/0003).

do $$
declare
  maker regprocedure;
  partition regclass;
begin
  foreach maker in array array['ensure_partitions(integer)', 'ensure_job_partition(timestamptz)']::regprocedure[] loop
    execute replace(pg_get_functiondef(maker), 'fillfactor = 45', 'fillfactor = 30');
  end loop;
  for partition in select inhrelid::regclass from pg_inherits where inhparent = 'job'::regclass loop
    execute format('alter table %s set (fillfactor = 30)', partition);
  end loop;
end $$;
