import fc from "fast-check";
import { expect, test } from "vitest";
import { descriptorLine, nextSampleAtMs, sampleLine } from "./lines.js";

const startedAtMs = Date.UTC(2026, 0, 2, 3, 4, 5);

test("the descriptor names system, tables and database, without the password", () => {
  const line = descriptorLine({
    eventTables: ["holdfast.job_20260102"],
    version: "0.1.0",
    databaseUrl: "postgres://bench:secret@127.0.0.1:5432/queue%20bench",
    startedAtMs,
  });
  expect(line).not.toContain("secret");
  expect(JSON.parse(line)).toEqual({
    kind: "descriptor",
    system: "holdfast",
    event_tables: ["holdfast.job_20260102"],
    extensions: [],
    version: "0.1.0",
    db_name: "queue bench",
    started_at: "2026-01-02T03:04:05.000Z",
  });
});

test("a sample is one line with the fields that the harness reads", () => {
  const line = sampleLine(startedAtMs, { metric: "claim_p99_ms", value: 12.5, windowSeconds: 30 });
  expect(line).not.toContain("\n");
  expect(JSON.parse(line)).toEqual({
    t: "2026-01-02T03:04:05.000Z",
    system: "holdfast",
    kind: "adapter",
    subject_kind: "adapter",
    subject: "",
    metric: "claim_p99_ms",
    value: 12.5,
    window_s: 30,
  });
});

test("the next sample is a multiple of the interval by the wall clock, and later than now", () => {
  fc.assert(
    fc.property(fc.nat(2 ** 41), fc.integer({ min: 1, max: 3_600 }), (now, every) => {
      const next = nextSampleAtMs(now, every);
      expect(next % (every * 1_000)).toBe(0);
      expect(next).toBeGreaterThan(now);
      expect(next - now).toBeLessThanOrEqual(every * 1_000);
    }),
  );
});
