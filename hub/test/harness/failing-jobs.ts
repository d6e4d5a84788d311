import type { LedgerRoom } from "./ledger-room.js";

/**
 * Has the server fail changes of jobs, one after the other, with these SQLSTATEs, and then no more. How often it did is
 * counted outside of transactions. Answers how to take that back.
 */
export async function failJobs(
  room: LedgerRoom,
  event: "insert" | "update",
  codes: readonly string[],
): Promise<() => Promise<void>> {
  const raises = codes.map((code, at) => `when ${at + 1} then raise 'not now' using errcode = '${code}';`);
  await room.sql(`
    create sequence failed_jobs;
    create function fail_job() returns trigger language plpgsql as $$ begin
      case nextval('holdfast.failed_jobs') ${raises.join(" ")} else return new; end case;
    end $$;
    create trigger failing before ${event} on job for each row execute function fail_job()`);
  return async () => {
    await room.sql("drop trigger failing on job; drop function fail_job(); drop sequence failed_jobs");
  };
}
