-- Dead letters (docs/adr/0024): jobs that ended in state 7, by when they died, and what operators said of them.

create table dead_letter (
  job_id uuid primary key,
  tenant_id integer not null,
  died_at timestamptz not null,
  -- An operator looked at it and wants it retried no more.
  resolved_at timestamptz,
  resolved_by text,
  note text,
  constraint dead_letter_resolved_with_note check (
    (resolved_at is null) = (note is null) and (resolved_at is null) = (resolved_by is null))
);
create index dead_letter_newest on dead_letter (tenant_id, died_at desc, job_id desc);

-- Whichever statement lets a job die or live again, its letter comes and goes in the same transaction. The condition of
-- the trigger looks at the two rows alone, so other changes of a job pay next to nothing.
create function keep_dead_letter() returns trigger language plpgsql set search_path = holdfast, pg_temp as $$
begin
  if new.state = 7 then
    insert into dead_letter (job_id, tenant_id, died_at) values (new.id, new.tenant_id, new.finished_at)
    on conflict (job_id) do nothing;
  else
    delete from dead_letter where job_id = new.id;
  end if;
  return null;
end $$;
revoke execute on function keep_dead_letter from public;
create trigger keep_dead_letter after update of state on job
  for each row when ((old.state = 7) <> (new.state = 7)) execute function keep_dead_letter();

insert into dead_letter (job_id, tenant_id, died_at) select id, tenant_id, finished_at from job where state = 7;
