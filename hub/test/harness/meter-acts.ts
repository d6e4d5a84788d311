import { expect } from "vitest";
import type { Gate, GateSettings } from "../../src/domain/gate.js";
import type { JobOptions } from "../../src/domain/job-spec.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { ClaimItem, StoppedJob } from "../../src/ledger/claim-jobs.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { unrefused } from "./ledger-acts.js";
import type { LedgerDesk } from "./ledger-desk.js";
import type { LedgerRoom } from "./ledger-room.js";

export const operator = { tenantId: 1, subject: "ops", reason: "test", ticket: "" };

export function setGate(room: LedgerRoom, target: Gate["target"], settings: GateSettings): Promise<Gate> {
  return room.ledger.setGate(operator, "gate.set", target, settings);
}

/** Options of a job that declares a key, or an estimate. */
export function keyed(key: string, jobsMax: number | null): JobOptions {
  return { inFlight: { key, jobsMax, policy: 1 } };
}

export function estimated(costMicroUsd: number, tokens = 0): JobOptions {
  return { estimate: { costMicroUsd, tokens } };
}

/** Claims jobs for the desk's session, or another, under meters; without scores the first comes first. */
export function claimUnder({ room, sessionId, nextDelivery }: LedgerDesk) {
  return async (
    jobIds: readonly string[],
    meterIds: readonly number[],
    by: { ledger?: Ledger; sessionId?: string; scores?: readonly number[] } = {},
  ) => {
    const { epoch: gateEpoch } = await room.ledger.readGateEpoch();
    const delivery = nextDelivery();
    const items = jobIds.map(
      (jobId, at): ClaimItem => ({
        ...{ jobId, sessionId: by.sessionId ?? sessionId, delivery, gateEpoch, meterIds },
        score: by.scores?.[at] ?? -at,
      }),
    );
    return unrefused(await (by.ledger ?? room.ledger).claim(items));
  };
}

export function leasesOf(results: readonly unknown[]): GrantedLease[] {
  return results.filter(
    (result): result is GrantedLease => typeof result === "object" && result !== null && "jobId" in result,
  );
}

export function stopsOf(results: readonly unknown[]): StoppedJob[] {
  return results.filter(
    (result): result is StoppedJob => typeof result === "object" && result !== null && "stoppedAt" in result,
  );
}

/**
 * What must hold of the meters at any moment (D18): what was held is settled, refunded or open, and what is open is what
 * leases hold, together with what was let go and is not subtracted yet.
 */
export async function expectMetersConserved(room: LedgerRoom): Promise<void> {
  const wrong = await room.sql(`
    with rows as (
      select m as meter_id, 1 as jobs, h.cost, h.tokens from hold h cross join lateral unnest(h.meter_ids) m
      union all select meter_id, jobs, cost, tokens from hold_end
    ), sums as (
      select meter_id, sum(jobs)::integer as jobs, sum(cost)::bigint as cost, sum(tokens)::bigint as tokens
      from rows group by meter_id
    )
    select m.*, s.jobs as jobs_held, s.cost as cost_held, s.tokens as tokens_held
    from meter m left join sums s on s.meter_id = m.meter_id
    where m.jobs <> coalesce(s.jobs, 0) or m.open_cost <> coalesce(s.cost, 0) or m.open_tokens <> coalesce(s.tokens, 0)
      or m.held_cost <> m.settled_cost + m.refunded_cost + m.open_cost
      or m.held_tokens <> m.settled_tokens + m.refunded_tokens + m.open_tokens`);
  expect(wrong).toEqual([]);
  const astray = await room.sql(`
    select h.job_id, j.state
    from (select job_id, fencing_token from seat union all select job_id, fencing_token from spend) h
    left join job j on j.id = h.job_id
    where j.state is distinct from 5 or j.fencing_token <> h.fencing_token`);
  expect(astray).toEqual([]);
}
