/**
 * What the hub may still send, so that it never sends more than the worker can hold. For jobs and for bytes alike
 *
 *     granted and not yet used  +  held  +  withheld  ≤  window
 *
 * where `held` counts leases that have not ended and `withheld` is what results beyond their own bound take away: a
 * hub that commits slower than it leases is slowed down instead of filling the worker with unacknowledged results.
 */
export type CreditLedger = {
  readonly window: Amount;
  /** Granted on this stream and not yet used by a lease. */
  readonly outstanding: Amount;
  /** Leases that have not ended. */
  readonly held: Amount;
};

export type Amount = { readonly jobs: number; readonly bytes: number };

const nothing: Amount = { jobs: 0, bytes: 0 };

export function newLedger(window: Amount): CreditLedger {
  return { window, outstanding: nothing, held: nothing };
}

/** A new stream starts without credit; `limits` are what its hub allows to be outstanding. */
export function newStream(ledger: CreditLedger): CreditLedger {
  return { ...ledger, outstanding: nothing };
}

/** Leases came in. A hub that sent more than it was granted is held to what it sent. */
export function leased(ledger: CreditLedger, jobs: number, bytes: number): CreditLedger {
  return {
    window: ledger.window,
    outstanding: {
      jobs: Math.max(0, ledger.outstanding.jobs - jobs),
      bytes: Math.max(0, ledger.outstanding.bytes - bytes),
    },
    held: { jobs: ledger.held.jobs + jobs, bytes: ledger.held.bytes + bytes },
  };
}

/** The same with another window of jobs. A smaller one takes nothing back: what was granted stays granted. */
export function withWindow(ledger: CreditLedger, jobs: number): CreditLedger {
  return ledger.window.jobs === jobs ? ledger : { ...ledger, window: { ...ledger.window, jobs } };
}

/** Leases ended. */
export function ended(ledger: CreditLedger, jobs: number, bytes: number): CreditLedger {
  return { ...ledger, held: { jobs: ledger.held.jobs - jobs, bytes: ledger.held.bytes - bytes } };
}

/**
 * The grant that is due now, if any: all that is free, within what the hub allows to be outstanding.
 *
 * @param withheld taken off the window
 * @param limits most that may be outstanding on a stream
 */
export function grant(
  ledger: CreditLedger,
  withheld: Amount,
  limits: Amount,
): { ledger: CreditLedger; grant: Amount } | undefined {
  const jobs = grantable(ledger, withheld, limits, "jobs");
  const bytes = grantable(ledger, withheld, limits, "bytes");
  if (jobs === 0 && bytes === 0) return undefined;
  const outstanding = { jobs: ledger.outstanding.jobs + jobs, bytes: ledger.outstanding.bytes + bytes };
  return { ledger: { ...ledger, outstanding }, grant: { jobs, bytes } };
}

function grantable(ledger: CreditLedger, withheld: Amount, limits: Amount, of: keyof Amount): number {
  const free = ledger.window[of] - ledger.held[of] - withheld[of];
  return Math.max(0, Math.min(free, limits[of]) - ledger.outstanding[of]);
}
