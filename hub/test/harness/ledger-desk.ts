import { afterAll } from "vitest";
import type { JobSpec } from "../../src/domain/job-spec.js";
import { JobEventType } from "../../src/domain/job-state.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { ReturnResult } from "../../src/ledger/return-leases.js";
import { claimOne, openSession, submitOne, unrefused } from "./ledger-acts.js";
import { expectBooksInOrder } from "./ledger-books.js";
import { type LedgerRoom, openLedgerRoom } from "./ledger-room.js";

/** A ledger with one worker's session on it. */
export interface LedgerDesk {
  readonly room: LedgerRoom;
  readonly sessionId: string;
  /** A number that no delivery to the session has had. */
  nextDelivery(): number;
  /** Claims a job for the session, in a delivery of its own. */
  claim(jobId: string): Promise<GrantedLease>;
  /** Submits a job and claims it. */
  leased(overrides?: Partial<JobSpec>): Promise<GrantedLease>;
  /** Takes the job back from the session, as one that ran out. */
  takeBack(jobId: string): Promise<ReturnResult>;
}

/** For a whole test file; when its tests are over, the books must be in order. */
export async function openLedgerDesk(): Promise<LedgerDesk> {
  const room = await openLedgerRoom();
  const sessionId = await openSession(room);
  afterAll(async () => {
    await expectBooksInOrder(room);
    await room.close();
  });
  let delivery = 0;
  const nextDelivery = () => {
    delivery += 1;
    return delivery;
  };
  const claim = (jobId: string) => claimOne(room.ledger, sessionId, jobId, nextDelivery());
  return {
    room,
    sessionId,
    nextDelivery,
    claim,
    leased: async (overrides) => claim(await submitOne(room, overrides)),
    async takeBack(jobId) {
      const event = JobEventType.Expired;
      const item = { jobId, sessionId, fencingToken: null, event, isStarted: true };
      const [returned] = unrefused(await room.ledger.returnLeases([item]));
      return returned as ReturnResult;
    },
  };
}
