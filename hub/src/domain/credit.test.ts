import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { grantCredit, noCredit } from "./credit.js";

const limits = { jobsMax: 1_000, bytesMax: 1_000_000 };
const grants = fc.array(
  fc.record({ jobs: fc.integer({ min: 0, max: 400 }), bytes: fc.integer({ min: 0, max: 400_000 }) }),
  { maxLength: 20 },
);

describe("credit", () => {
  it("is the sum of the grants that were accepted, and never passes its limits", () => {
    fc.assert(
      fc.property(grants, (grants) => {
        let credit = noCredit;
        let jobs = 0;
        let bytes = 0;
        for (const grant of grants) {
          const granted = grantCredit(credit, grant, limits);
          if (granted === "overflow") {
            const fits = jobs + grant.jobs <= limits.jobsMax && bytes + grant.bytes <= limits.bytesMax;
            expect(fits).toBe(false);
            continue;
          }
          credit = granted;
          jobs += grant.jobs;
          bytes += grant.bytes;
        }
        expect(credit).toEqual({ jobs, bytes });
        expect(jobs).toBeLessThanOrEqual(limits.jobsMax);
        expect(bytes).toBeLessThanOrEqual(limits.bytesMax);
      }),
    );
  });

  it("may reach its limits, but not pass either of them", () => {
    const full = { jobs: 1_000, bytes: 1_000_000 };

    expect(grantCredit(noCredit, full, limits)).toEqual(full);
    expect(grantCredit(full, { jobs: 1, bytes: 0 }, limits)).toBe("overflow");
    expect(grantCredit(full, { jobs: 0, bytes: 1 }, limits)).toBe("overflow");
  });
});
