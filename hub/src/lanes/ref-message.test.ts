import fc from "fast-check";
import { expect, it } from "vitest";
import { refAt } from "../../test/harness/refs.js";
import { decodeRefs, encodeRefs } from "./ref-message.js";

const ref = fc.record({
  jobId: fc.uuid(),
  laneId: fc.constant(7),
  readyKey: fc.maxSafeNat(),
  readyAtMs: fc.double({ min: 0, max: 4e12, noNaN: true }),
  attempt: fc.integer({ min: 0, max: 1_000 }),
  bytes: fc.integer({ min: 0, max: 2 ** 31 }),
});

it("reads the refs that were written", () => {
  fc.assert(
    fc.property(fc.array(ref, { maxLength: 200 }), (refs) => {
      expect(decodeRefs(encodeRefs(7, refs))).toEqual(refs);
    }),
  );
});

it("reads nothing from what is cut off, of another version, or no message of refs at all", () => {
  const whole = encodeRefs(1, [refAt(1), refAt(2)]);
  const newer = Buffer.from(whole);
  newer[0] = 2;

  expect(decodeRefs(whole.subarray(0, -1))).toBeNull();
  expect(decodeRefs(newer)).toBeNull();
  expect(decodeRefs(Buffer.from("{}"))).toBeNull();
  expect(decodeRefs(Buffer.alloc(0))).toBeNull();
});
