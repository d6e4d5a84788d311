-- A fourth purpose of timers: 4 the time passes by which a job must have started (submit-jobs.ts, fire-timers.ts).
alter table timer drop constraint timer_purpose_check;
alter table timer add constraint timer_purpose_check check (purpose between 1 and 4);
