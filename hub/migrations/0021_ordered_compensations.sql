-- What undoes a failed run is part of it and runs in order (docs/adr/0022). Beside the jobs that were submitted: those are
-- what a replay repeats.
alter table run add column compensations integer not null default 0;
