-- Submitting in SQL runs in the session of the application, by a plan that is kept: made while there were few idempotency
-- keys, it would read all of them for each job, until they are counted again.

alter function submit set enable_seqscan = off;
