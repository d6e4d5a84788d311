-- Jobs that wait for a signal (docs/adr/0028): they hold no lease, and whoever publishes what they wait for makes them
-- ready in the same transaction.

create table suspended (
  job_id uuid primary key,
  tenant_id integer not null,
  channel_id bigint not null,
  partition smallint not null,
  -- It waits for any signal with a higher sequence.
  after_sequence bigint not null check (after_sequence >= 0),
  since timestamptz not null default now(),
  -- The timer of purpose 5 that ends the wait; null: there is none.
  timeout_at timestamptz
);
-- How a publish finds those who wait, by key alone.
create index suspended_place on suspended (channel_id, partition, after_sequence);

-- Waits that ended by their timeout: such a wait is answered so however often the job asks again, whatever has been
-- published meanwhile.
create table wait_timeout (
  job_id uuid not null,
  channel_id bigint not null,
  partition smallint not null,
  after_sequence bigint not null,
  primary key (job_id, channel_id, partition, after_sequence)
);

-- An attempt began and went on to wait, though `attempt` does not count it until the job goes on. Null: never.
alter table job add column has_waited boolean;

-- Set by whoever suspends a job, and cleared by a publish that leaves nobody waiting; both hold the row's lock.
alter table channel_partition add column is_awaited boolean not null default false;
-- More jobs were to be woken than one transaction may: others go on.
alter table channel_partition add column is_waking boolean not null default false;
create index channel_partition_waking on channel_partition (channel_id, partition) where is_waking;

-- A fifth purpose of timers: 5 a wait for a signal is over (fire-wait-timeouts.ts). Its guard is the job's revision.
alter table timer drop constraint timer_purpose_check;
alter table timer add constraint timer_purpose_check check (purpose between 1 and 5);

-- A suspended job that ends (cancelled, past its deadline, stopped with its run) waits no more, whichever statement ends
-- it. What wakes jobs takes the row away itself.
create function stop_waiting() returns trigger language plpgsql set search_path = holdfast, pg_temp as $$
begin
  delete from suspended where job_id = new.id;
  return null;
end $$;
revoke execute on function stop_waiting from public;
create trigger stop_waiting after update of state on job
  for each row when (old.state = 4 and new.state >= 6) execute function stop_waiting();
