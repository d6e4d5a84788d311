import { expect } from "vitest";
import type { LedgerRoom } from "./ledger-room.js";

/**
 * What must hold of every ledger at any time: each job has exactly one event per revision (D20, D21), and each writer's
 * pages are numbered without a gap; and the dead letters are the dead jobs.
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
  const strays = await room.sql("select job_id from event where job_id not in (select id from job) limit 3");
  expect(strays).toEqual([]);
}
