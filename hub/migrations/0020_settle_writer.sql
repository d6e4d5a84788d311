-- Ends the life of a writer whose hub is gone: nobody holds its lock, so none of its transactions is on its way. Of its
-- last page numbers some may have come to nothing; they are filled here, so that its pages have no gap (D20). A function,
-- because what follows the lock must see what was committed before the lock was free.
create function settle_writer(settled integer, lock_class integer, out is_ended boolean, out last_page bigint)
  language plpgsql set search_path = holdfast, pg_temp as $$
declare
  -- More than a hub ever has on their way.
  doubtful_pages constant integer := 8;
begin
  if exists (select from writer w where w.writer_id = settled and w.ended_at is null)
    and pg_try_advisory_xact_lock(lock_class, settled)
  then
    update writer w set ended_at = now() where w.writer_id = settled and w.ended_at is null;
    -- Where history was dropped, what lies before the first page that is left is not missing.
    insert into event_page (at, writer_id, batch, items)
    select now(), settled, n, '{}'
    from (select max(p.batch) as last from event_page p where p.writer_id = settled) pages
    cross join generate_series(greatest(1, pages.last - doubtful_pages), pages.last - 1) as n
    where not exists (select from event_page p where p.writer_id = settled and p.batch = n)
      and (exists (select from event_page p where p.writer_id = settled and p.batch < n)
        or (select w.started_at from writer w where w.writer_id = settled) > now() - interval '1 day');
  end if;
  select w.ended_at is not null into is_ended from writer w where w.writer_id = settled;
  is_ended := coalesce(is_ended, true);
  select coalesce(max(p.batch), 0) into last_page from event_page p where p.writer_id = settled;
end $$;
revoke execute on function settle_writer from public;
