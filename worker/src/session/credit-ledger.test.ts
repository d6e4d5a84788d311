import fc from "fast-check";
import { expect, test } from "vitest";
import { type CreditLedger, ended, grant, leased, newLedger, newStream } from "./credit-ledger.js";

const none = { jobs: 0, bytes: 0 };
const unlimited = { jobs: 1e6, bytes: 1e9 };

test("the whole window is granted at first, and then only what becomes free", () => {
  const first = grant(newLedger({ jobs: 10, bytes: 1_000 }), none, unlimited);
  expect(first?.grant).toEqual({ jobs: 10, bytes: 1_000 });
  let ledger = first?.ledger as CreditLedger;
  expect(grant(ledger, none, unlimited)).toBeUndefined();
  ledger = leased(ledger, 4, 400);
  expect(grant(ledger, none, unlimited)).toBeUndefined();
  ledger = ended(ledger, 3, 300);
  expect(grant(ledger, none, unlimited)?.grant).toEqual({ jobs: 3, bytes: 300 });
});

test("a new stream is granted what is free, not what an old one had left", () => {
  const granted = grant(newLedger({ jobs: 10, bytes: 1_000 }), none, unlimited)?.ledger as CreditLedger;
  const again = newStream(leased(granted, 4, 400));
  expect(grant(again, none, unlimited)?.grant).toEqual({ jobs: 6, bytes: 600 });
});

test("what is withheld comes off the window, and comes back", () => {
  const ledger = newLedger({ jobs: 10, bytes: 1_000 });
  expect(grant(ledger, { jobs: 8, bytes: 0 }, unlimited)?.grant).toEqual({ jobs: 2, bytes: 1_000 });
  expect(grant(ledger, { jobs: 50, bytes: 5_000 }, unlimited)).toBeUndefined();
  expect(grant(ledger, none, unlimited)?.grant).toEqual({ jobs: 10, bytes: 1_000 });
});

test("whatever happens, the hub can never have more outstanding and held than the window, nor than its own limit", () => {
  const amount = fc.record({ jobs: fc.nat(20), bytes: fc.nat(2_000) });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("lease" as const), amount }),
    fc.record({ kind: fc.constant("end" as const), amount }),
    fc.record({ kind: fc.constant("grant" as const), withheld: amount }),
    fc.record({ kind: fc.constant("stream" as const) }),
  );
  const window = { jobs: 16, bytes: 1_500 };
  const limits = { jobs: 12, bytes: 1_200 };
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let ledger = newLedger(window);
      for (const taken of steps) {
        const { outstanding, held } = ledger;
        if (taken.kind === "stream") ledger = newStream(ledger);
        else if (taken.kind === "grant") ledger = grant(ledger, taken.withheld, limits)?.ledger ?? ledger;
        else if (taken.kind === "lease") {
          const jobs = Math.min(taken.amount.jobs, outstanding.jobs);
          ledger = leased(ledger, jobs, Math.min(taken.amount.bytes, outstanding.bytes));
        } else {
          ledger = ended(
            ledger,
            Math.min(taken.amount.jobs, held.jobs),
            Math.min(taken.amount.bytes, held.bytes),
          );
        }
        for (const unit of ["jobs", "bytes"] as const) {
          expect(ledger.outstanding[unit] + ledger.held[unit]).toBeLessThanOrEqual(window[unit]);
          expect(ledger.outstanding[unit]).toBeLessThanOrEqual(limits[unit]);
          expect(ledger.outstanding[unit]).toBeGreaterThanOrEqual(0);
        }
      }
    }),
  );
});
