import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AttachResponseSchema } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import fc from "fast-check";
import { expect, it } from "vitest";
import { JobState } from "../domain/job-state.js";
import type { Lane } from "../domain/lane.js";
import type { GrantedLease } from "../domain/lease.js";
import type { LaneLease, ResultVerdict } from "../services/session-messages.js";
import { encodeLeases, encodeVerdicts, toLeaseMessage, toVerdictMessage } from "./lease-messages.js";

const text = fc.string({ unit: "grapheme", maxLength: 200 });
const token = fc.bigInt({ min: 0n, max: (1n << 63n) - 1n });
const bytes = fc.uint8Array({ maxLength: 300 });
const time = fc.double({ min: 946_684_800_000, max: 4_000_000_000_000, noNaN: true });

const options = fc.record(
  {
    finishAndReport: fc.record({ limitMs: fc.nat(1_000_000) }),
    labels: fc.dictionary(text, text, { maxKeys: 3 }),
    idempotencyKey: text,
    traceContext: fc.record({ traceparent: text, tracestate: text }),
    replay: fc.record({ originId: fc.uuid() }),
  },
  { requiredKeys: [] },
);

const lease: fc.Arbitrary<LaneLease> = fc
  .record({
    jobId: fc.uuid(),
    laneId: fc.nat(),
    fencingToken: token,
    attempt: fc.integer({ min: 1, max: 1_000 }),
    attemptsMax: fc.integer({ min: 1, max: 1_000 }),
    payload: bytes,
    contentType: text,
    checkpoint: fc.option(fc.record({ sequence: token, state: bytes })),
    options,
    deadlineMs: fc.option(time),
    submittedAtMs: time,
    lane: fc.record({ kind: text, product: text, queue: text }),
  })
  .map(({ lane, ...lease }) => ({ lease: lease as unknown as GrantedLease, lane: lane as unknown as Lane }));

const verdict: fc.Arbitrary<ResultVerdict> = fc.record({
  jobId: fc.uuid(),
  fencingToken: token,
  verdict: fc.oneof(
    fc.record({
      type: fc.constant("committed" as const),
      state: fc.constantFrom(JobState.Succeeded, JobState.Scheduled, JobState.Dead),
    }),
    fc.record({ type: fc.constantFrom("duplicate" as const, "stale" as const) }),
    fc.record({
      type: fc.constant("refused" as const),
      refusal: fc.record({
        reason: text,
        message: text,
        metadata: fc.dictionary(text, text, { maxKeys: 3 }),
      }),
    }),
  ),
});

/** A message as a worker sees it that decodes it: without regard to the order of fields. */
const decoded = (bytes: Uint8Array) => fromBinary(AttachResponseSchema, bytes);

it("leases of the stream are those that the general encoder makes", () => {
  fc.assert(
    fc.property(fc.nat(), fc.array(lease, { maxLength: 5 }), (delivery, leases) => {
      const value = { delivery: BigInt(delivery), leases: leases.map(toLeaseMessage) };
      const general = create(AttachResponseSchema, { message: { case: "leases", value } });
      expect(decoded(encodeLeases(delivery, leases).bytes)).toEqual(
        decoded(toBinary(AttachResponseSchema, general)),
      );
    }),
  );
});

it("verdicts of the stream are those that the general encoder makes", () => {
  fc.assert(
    fc.property(fc.array(verdict, { maxLength: 5 }), (verdicts) => {
      const value = { verdicts: verdicts.map(toVerdictMessage) };
      const general = create(AttachResponseSchema, { message: { case: "verdicts", value } });
      expect(decoded(encodeVerdicts(verdicts).bytes)).toEqual(
        decoded(toBinary(AttachResponseSchema, general)),
      );
    }),
  );
});
