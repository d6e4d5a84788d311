import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JobState } from "../../src/domain/job-state.js";
import { claimOne, openSession, submitOne } from "../harness/ledger-acts.js";
import { type LedgerRoom, openLedgerRoom } from "../harness/ledger-room.js";

let room: LedgerRoom;
let waiting: string;
let leased: string;
beforeAll(async () => {
  room = await openLedgerRoom();
  waiting = await submitOne(room);
  leased = await submitOne(room);
  await claimOne(room.ledger, await openSession(room), leased);
});
afterAll(() => room.close());

describe("a job row that cannot be", () => {
  it.each([
    ["leased by nobody", "state = 5", "job_leased_by_session"],
    ["waiting, yet held by a session", "session_id = gen_random_uuid()", "job_leased_by_session"],
    ["ended without an end", "state = 6", "job_finished_when_terminal"],
    ["dead without an end", "state = 7", "job_finished_when_terminal"],
    ["open with an end", "finished_at = now()", "job_finished_when_terminal"],
    ["started more often than allowed (D8)", "attempt = attempts_max + 1", "job_attempts_bounded"],
    ["started less than never", "attempt = -1", "job_attempt_check"],
    ["in an unknown state", "state = 9, finished_at = now()", "job_state_check"],
    ["without a state", "state = 0", "job_state_check"],
    ["with too many attempts allowed", "attempts_max = 1001", "job_attempts_max_check"],
    ["with no attempt allowed", "attempts_max = 0", "job_attempts_max_check"],
  ])("%s is refused by the ledger", async (_, change, constraint) => {
    await expect(room.sql(`update job set ${change} where id = $1`, [waiting])).rejects.toMatchObject({
      code: "23514",
      constraint,
    });
  });

  it("leased and ended at once is refused by the ledger", async () => {
    await expect(
      room.sql("update job set state = 6, finished_at = now() where id = $1", [leased]),
    ).rejects.toMatchObject({ constraint: "job_leased_by_session" });
  });

  it("twice under one id is refused by the ledger", async () => {
    await expect(
      room.sql("insert into job select * from job where id = $1", [waiting]),
    ).rejects.toMatchObject({
      code: "23505",
    });
  });
});

describe("the rules that the ledger keeps by itself (D8)", () => {
  const { Scheduled, Ready, Succeeded, Dead, Cancelled } = JobState;

  it.each([
    { proposed: Scheduled, cancelling: false, attempt: 1, state: Scheduled },
    { proposed: Scheduled, cancelling: false, attempt: 3, state: Dead },
    { proposed: Scheduled, cancelling: true, attempt: 1, state: Cancelled },
    { proposed: Scheduled, cancelling: true, attempt: 3, state: Cancelled },
    { proposed: Succeeded, cancelling: true, attempt: 3, state: Succeeded },
    { proposed: Dead, cancelling: false, attempt: 1, state: Dead },
    { proposed: Cancelled, cancelling: false, attempt: 1, state: Cancelled },
  ])(
    "a report that proposes $proposed in attempt $attempt of 3, cancelling: $cancelling, leads to $state",
    async (row) => {
      expect(
        await room.sql("select settled_state($1::smallint, $2, $3::smallint, 3::smallint) as state", [
          row.proposed,
          row.cancelling,
          row.attempt,
        ]),
      ).toEqual([{ state: row.state }]);
    },
  );

  it.each([
    { cancelling: false, attempt: 0, state: Ready },
    { cancelling: false, attempt: 2, state: Ready },
    { cancelling: false, attempt: 3, state: Dead },
    { cancelling: true, attempt: 0, state: Cancelled },
    { cancelling: true, attempt: 3, state: Cancelled },
  ])(
    "a lease that goes back after $attempt of 3 attempts, cancelling: $cancelling, leads to $state",
    async (row) => {
      expect(
        await room.sql("select returned_state($1, $2, 3::smallint) as state", [row.cancelling, row.attempt]),
      ).toEqual([{ state: row.state }]);
    },
  );
});

describe("other rows that cannot be", () => {
  it.each([
    ["a lane of an unknown priority", "update lane set priority = 5", "23514"],
    ["a lane of nobody", "update lane set tenant_id = 99", "23503"],
    ["a session in an unknown state", "update session set state = 4", "23514"],
    ["a tenant whose name is no name", "insert into tenant (name) values ('Not A Name')", "23514"],
    ["a key that may do nothing", "insert into api_key values ('k', 1, '', '{}', '{}', '')", "23514"],
    ["a timer for nothing", "insert into timer values (9, now(), gen_random_uuid(), 0)", "23514"],
  ])("%s is refused by the ledger", async (_, text, code) => {
    await expect(room.sql(text)).rejects.toMatchObject({ code });
  });
});
