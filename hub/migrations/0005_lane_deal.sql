-- When hubs share lanes and JetStream cannot say what waits, they share the ledger's own order instead: its ready jobs
-- are dealt to them in pages, each job once in a round, so that two hubs do not read the same page (docs/adr/0016).
alter table lane
  -- Ready jobs up to this place were dealt in this round.
  add column dealt_key bigint not null default 0,
  -- After a while a round is over and the next one begins at the low key: for what a hub took and lost.
  add column deal_began_at timestamptz not null default '-infinity';
