import { expect } from "vitest";
import type { LedgerRoom } from "./ledger-room.js";

/**
 * What must hold of every ledger at any time: each job has exactly one event per revision (D20, D21), and each writer's
 * pages are numbered without a gap; the dead letters are the dead jobs; and what is known of windows is what became of
 * their jobs.
 */
export async function expectBooksInOrder(room: LedgerRoom): Promise<void> {
  const gaps = await room.sql(
    `select writer_id, count(*)::integer as pages, min(batch)::integer as first, max(batch)::integer as last
     from event_page group by writer_id having min(batch) <> 1 or max(batch) <> count(*)`,
  );
  expect(gaps).toEqual([]);
  const wrong = await room.sql(
    `select j.id, j.revision, e.revisions from job j
     left join (select job_id, array_agg(revision order by revision) as revisions from event group by job_id) e
       on e.job_id = j.id
     where e.revisions is distinct from array(select generate_series(1, j.revision)) limit 3`,
  );
  expect(wrong).toEqual([]);
  const letters = await room.sql(
    `select coalesce(j.id, d.job_id) as id, j.state from (select * from job where state = 7) j
     full join dead_letter d on d.job_id = j.id where j.id is null or d.job_id is null limit 3`,
  );
  expect(letters).toEqual([]);
  const windows = await room.sql(
    `select w.job_id, w.state, j.state as job_state from event_window w
     left join job j on j.id = w.job_id left join inbox i on i.job_id = w.job_id
     where case w.state when 1 then not (coalesce(j.state < 6, false) or i.job_id is not null)
       when 2 then j.state <> 6 else j.state <> 7 end
     union all
     select j.id, null, j.state from job j where j.options ? 'window' and j.state < 6
       and not exists (select from event_window w where w.job_id = j.id and w.state = 1) limit 3`,
  );
  expect(windows).toEqual([]);
  const strays = await room.sql("select job_id from event where job_id not in (select id from job) limit 3");
  expect(strays).toEqual([]);
}
