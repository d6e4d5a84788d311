-- How far events were carried out of the ledger, and who carries them on (docs/adr/0017).

-- A sink that some hub forwards to. Writers before the first hub that opened it are not forwarded: their history stays
-- in the ledger alone.
create table forward_sink (
  sink text primary key check (sink ~ '^[a-z0-9-]{1,63}$'),
  first_writer integer not null,
  began_at timestamptz not null default now()
);

-- Every page of the writer up to this one is durable in the sink. The numbers only rise.
create table forward_cursor (
  sink text not null references forward_sink,
  writer_id integer not null references writer,
  forwarded_through bigint not null default 0 check (forwarded_through >= 0),
  -- When that page was written; the writer's start before the first.
  page_at timestamptz not null,
  -- The hub that forwards, by the writer number that it began its life with; null: nobody yet. It may be taken over
  -- when the claim has run out.
  claimed_by integer,
  claimed_until timestamptz,
  -- The writer's life is over and all its pages are forwarded: nobody looks at it again.
  is_done boolean not null default false,
  saved_at timestamptz not null default now(),
  primary key (sink, writer_id),
  constraint forward_cursor_claim_whole check ((claimed_by is null) = (claimed_until is null))
) with (fillfactor = 50);
create index forward_cursor_open on forward_cursor (sink, writer_id) where not is_done;

-- Pages that retention dropped before they were forwarded, because it was told to. The forwarder announces each.
create table forward_gap (
  sink text not null references forward_sink,
  writer_id integer not null,
  first_batch bigint not null,
  last_batch bigint not null check (last_batch >= first_batch),
  dropped_at timestamptz not null default now(),
  primary key (sink, writer_id, first_batch)
);
