-- Signals: channels, the pages that hold what was published, producers' numbers, and consumers' cursors (D11 to D15,
-- docs/adr/0020). Numbers of owners are those of hub/src/domain/channel.ts.

create table channel (
  channel_id bigint generated always as identity primary key,
  tenant_id integer not null references tenant,
  -- 1 a job, 2 a run, 3 a free name.
  owner_type smallint not null check (owner_type between 1 and 3),
  owner text not null,
  name text not null,
  partitions smallint not null check (partitions between 1 and 64),
  is_best_effort boolean not null default false,
  max_age_ms bigint not null,
  max_bytes bigint not null check (max_bytes > 0),
  trim_consumed boolean not null default false,
  trim_past_cursors boolean not null default false,
  redeliveries_max smallint not null check (redeliveries_max between 1 and 1000),
  created_at timestamptz not null default now(),
  unique (tenant_id, owner_type, owner, name)
);
create index channel_of_tenant on channel (tenant_id, channel_id);

-- The head of a sequence: locked by whoever appends to it until the commit, so that what is visible has no gap.
create table channel_partition (
  channel_id bigint not null references channel on delete cascade,
  partition smallint not null,
  -- First that is held; one more than last_sequence when none is.
  first_sequence bigint not null default 1,
  last_sequence bigint not null default 0,
  held_bytes bigint not null default 0 check (held_bytes >= 0),
  -- A copy of the channel's max_bytes: admission looks at this row only.
  max_bytes bigint not null,
  primary key (channel_id, partition),
  constraint channel_partition_in_order check (first_sequence between 1 and last_sequence + 1)
) with (fillfactor = 40);

-- One row for each name that published to a channel. Epoch fences streams; last_number is the newest that is stored.
create table signal_producer (
  producer_id bigint generated always as identity primary key,
  channel_id bigint not null references channel on delete cascade,
  name text not null,
  epoch integer not null default 1,
  last_number bigint not null default 0,
  used_at timestamptz not null default now(),
  unique (channel_id, name)
) with (fillfactor = 40);

-- Consecutive signals of one partition that one producer stored in one commit. The body is the wire form of
-- `repeated Signal` (field 4 of SignalPage): stored as it is sent.
create table signal_page (
  channel_id bigint not null,
  partition smallint not null,
  first_sequence bigint not null,
  last_sequence bigint not null,
  at timestamptz not null,
  producer_id bigint not null,
  -- The producer's numbers of the first and the last signal; numbers is null when they have no gap.
  first_number bigint not null,
  last_number bigint not null,
  numbers bigint[],
  body bytea not null,
  primary key (channel_id, partition, first_sequence),
  constraint signal_page_in_order check (last_sequence >= first_sequence and last_number >= first_number)
);
alter table signal_page alter column body set storage external;
-- Finds the first sequence of a number that is published again (D12).
create index signal_page_number on signal_page (producer_id, first_number);

create table signal_cursor (
  cursor_id bigint generated always as identity primary key,
  channel_id bigint not null references channel on delete cascade,
  partition smallint not null,
  consumer text not null,
  -- Counts attaches; fences older streams.
  epoch integer not null default 1,
  acked_through bigint not null,
  delivered_through bigint not null,
  checkpoint_sequence bigint,
  touched_at timestamptz not null default now(),
  reset_reason text,
  reset_by text,
  reset_at timestamptz,
  unique (channel_id, partition, consumer),
  constraint signal_cursor_in_order check (acked_through between 0 and delivered_through),
  constraint signal_cursor_after_checkpoint check (checkpoint_sequence between 0 and acked_through)
) with (fillfactor = 40);

-- Streams that share a consumer's partitions, until they leave or expire.
create table signal_member (
  channel_id bigint not null references channel on delete cascade,
  consumer text not null,
  member uuid not null,
  expires_at timestamptz not null,
  primary key (channel_id, consumer, member)
) with (fillfactor = 40);

create table signal_checkpoint (
  cursor_id bigint primary key references signal_cursor on delete cascade,
  sequence bigint not null,
  state bytea not null,
  saved_at timestamptz not null default now()
);
alter table signal_checkpoint alter column state set storage external;

-- Signals that a consumer could not take, until its cursor has passed them.
create table signal_redelivery (
  cursor_id bigint not null references signal_cursor on delete cascade,
  sequence bigint not null,
  failures integer not null check (failures > 0),
  -- Set once it went to the dead-letter channel: then it counts as acknowledged.
  dead_at timestamptz,
  primary key (cursor_id, sequence)
);

-- Drops pages that end at or before `through`; answers the first sequence still held. Never past a durable cursor
-- unless told to (D15): a cursor that is being made or moved locks the head too, so none is overlooked.
create function trim_signals(trimmed_channel bigint, trimmed_partition smallint, through bigint, past_cursors boolean)
  returns bigint language plpgsql as $$
declare
  limit_sequence bigint := through;
  trimmed_through bigint;
  trimmed_bytes bigint;
  first_held bigint;
begin
  perform from channel_partition
    where channel_id = trimmed_channel and partition = trimmed_partition for update;
  if not past_cursors then
    select least(through, min(coalesce(checkpoint_sequence, acked_through))) into limit_sequence
    from signal_cursor where channel_id = trimmed_channel and partition = trimmed_partition;
  end if;
  with dropped as (
    delete from signal_page
    where channel_id = trimmed_channel and partition = trimmed_partition
      and first_sequence <= limit_sequence and last_sequence <= limit_sequence
    returning last_sequence, octet_length(body) as bytes
  )
  select max(last_sequence), sum(bytes) into trimmed_through, trimmed_bytes from dropped;
  update channel_partition
  set first_sequence = coalesce(trimmed_through + 1, first_sequence),
      held_bytes = held_bytes - coalesce(trimmed_bytes, 0)
  where channel_id = trimmed_channel and partition = trimmed_partition
  returning first_sequence into first_held;
  return first_held;
end $$;
