import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DisconnectPolicy, JobState, OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import {
  AttachRequestSchema,
  AttachResponseSchema,
  LeasesSchema,
  ReportSchema,
  Verdict,
  VerdictsSchema,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frameRequest, openResponse, requestField, responseField } from "./attach-frame.js";
import { creditBytes, scanLeases } from "./lease-scan.js";
import { scanReport } from "./report-scan.js";
import { ResultBatch } from "./result-batch.js";
import { scanVerdicts } from "./verdict-scan.js";
import { asBuffer, WireError } from "./wire-cursor.js";

const jobId = fc.uuid();
const token = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const bytes = fc.uint8Array({ maxLength: 300 });
const policy = fc.constantFrom(DisconnectPolicy.STOP, DisconnectPolicy.FINISH_AND_REPORT);

const lease = fc.record({
  jobId,
  fencingToken: token,
  attempt: fc.integer({ min: 1, max: 1_000 }),
  kind: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,127}$/),
  payload: bytes,
  contentType: fc.string({ maxLength: 40 }),
  checkpoint: fc.option(fc.record({ sequence: token, state: bytes }), { nil: undefined }),
  disconnectPolicy: policy,
  limitMs: fc.option(fc.integer({ min: 1, max: 86_400_000 }), { nil: undefined }),
  labels: fc.dictionary(fc.string({ maxLength: 10 }), fc.string({ maxLength: 10 }), { maxKeys: 3 }),
});

/** The generated encoder's bytes, with a few of another message on either side. */
function embedded(encoded: Uint8Array): { buffer: Buffer; start: number; end: number } {
  const around = Buffer.from([0xff, 0xff, 0xff]);
  return { buffer: Buffer.concat([around, encoded, around]), start: 3, end: 3 + encoded.length };
}

describe("the readers and writers of the hot path agree with the generated code", () => {
  test("on leases", () => {
    fc.assert(
      fc.property(fc.array(lease, { maxLength: 5 }), token, (leases, delivery) => {
        const message = create(LeasesSchema, {
          delivery: BigInt(delivery),
          leases: leases.map(({ fencingToken, checkpoint, limitMs, ...rest }) => ({
            ...rest,
            fencingToken: BigInt(fencingToken),
            ...(checkpoint && { checkpoint: { ...checkpoint, sequence: BigInt(checkpoint.sequence) } }),
            ...(limitMs && {
              disconnectLimit: {
                seconds: BigInt(Math.floor(limitMs / 1000)),
                nanos: (limitMs % 1000) * 1_000_000,
              },
            }),
          })),
        });
        const { buffer, start, end } = embedded(toBinary(LeasesSchema, message));
        const scanned = scanLeases(buffer, start, end);
        expect(scanned.delivery).toBe(delivery);
        const read = scanned.leases.map((found) => ({
          jobId: buffer.toString("latin1", found.jobIdStart, found.jobIdEnd),
          fencingToken: found.fencingToken,
          kind: buffer.toString("latin1", found.kindStart, found.kindEnd),
          payload: [...buffer.subarray(found.payloadStart, found.payloadEnd)],
          sequence: found.checkpointSequence,
          state: [...buffer.subarray(found.checkpointStart, found.checkpointEnd)],
          disconnectPolicy: found.disconnectPolicy,
          limitMs: found.disconnectLimitMs,
          creditBytes: creditBytes(found),
        }));
        expect(read).toEqual(
          leases.map(({ checkpoint, ...one }) => ({
            jobId: one.jobId,
            fencingToken: one.fencingToken,
            kind: one.kind,
            payload: [...one.payload],
            sequence: checkpoint?.sequence ?? 0,
            state: [...(checkpoint?.state ?? [])],
            disconnectPolicy: one.disconnectPolicy,
            limitMs: one.limitMs,
            creditBytes: one.payload.length + (checkpoint?.state.length ?? 0),
          })),
        );
      }),
    );
  });

  test("on verdicts", () => {
    const verdict = fc.record({
      jobId,
      fencingToken: token.map(BigInt),
      verdict: fc.constantFrom(Verdict.COMMITTED, Verdict.DUPLICATE, Verdict.STALE, Verdict.REFUSED),
      state: fc.constantFrom(JobState.UNSPECIFIED, JobState.SUCCEEDED, JobState.DEAD),
    });
    fc.assert(
      fc.property(fc.array(verdict), (verdicts) => {
        const message = create(VerdictsSchema, { verdicts });
        const { buffer, start, end } = embedded(toBinary(VerdictsSchema, message));
        const read = scanVerdicts(buffer, start, end).map((found) => ({
          jobId: found.jobId,
          fencingToken: BigInt(found.fencingToken),
          verdict: found.verdict,
          state: found.state,
        }));
        expect(read).toEqual(verdicts);
      }),
    );
  });

  test("on reports, which are made of results and taken apart into them", () => {
    const result = fc.record({
      id: jobId,
      token,
      value: fc.oneof(fc.string({ unit: "grapheme", maxLength: 200 }), bytes),
      isFailure: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(result, { maxLength: 8 }), (results) => {
        const batch = new ResultBatch();
        const failure = create(OutcomeSchema, { outcome: { case: "failure", value: { code: "A" } } });
        for (const [i, one] of results.entries()) {
          const id = Buffer.from(`xx${one.id}`, "latin1");
          const identity = { bytes: id, jobIdStart: 2, jobIdEnd: id.length, token: one.token };
          if (one.isFailure) batch.addOutcome(i, identity, toBinary(OutcomeSchema, failure));
          else batch.addSuccess(i, identity, one.value, Buffer.byteLength(one.value), "text/plain");
        }
        const { bytes: encoded, refs, ends } = batch.take();
        const report = fromBinary(ReportSchema, encoded);
        expect(
          report.results.map(({ jobId: id, fencingToken }) => ({ id, token: Number(fencingToken) })),
        ).toEqual(results.map(({ id, token: of }) => ({ id, token: of })));
        for (const [i, { outcome }] of report.results.entries()) {
          const { value, isFailure } = results[i] as (typeof results)[number];
          if (isFailure) expect(outcome).toEqual(failure);
          else {
            const success = outcome?.outcome.value as { result: Uint8Array; contentType: string };
            expect([...success.result]).toEqual([...Buffer.from(value as string)]);
            expect(success.contentType).toBe("text/plain");
          }
        }
        const scanned = scanReport(asBuffer(encoded));
        expect(scanned.map(({ end }) => end)).toEqual([...ends]);
        expect([...refs]).toEqual(results.map((_, i) => i));
        for (const [i, { start, end }] of scanned.entries()) {
          const alone = fromBinary(ReportSchema, encoded.subarray(start, end));
          expect(alone.results).toEqual([report.results[i]]);
        }
      }),
    );
  });

  test("on the envelope of what goes up", () => {
    fc.assert(
      fc.property(bytes, bytes, fc.nat(), (first, second, delivered) => {
        const report = [toBinary(ReportSchema, create(ReportSchema, { results: [{ jobId: "a" }] }))];
        expect(fromBinary(AttachRequestSchema, frameRequest(requestField.report, report, delivered))).toEqual(
          create(AttachRequestSchema, {
            message: { case: "report", value: { results: [{ jobId: "a" }] } },
            deliveredThrough: BigInt(delivered),
          }),
        );
        const joined = frameRequest(requestField.drain, [first, second], 0);
        expect([...joined.subarray(joined.length - first.length - second.length)]).toEqual([
          ...first,
          ...second,
        ]);
      }),
    );
  });

  test("on which case comes down, also after fields that are not known here", () => {
    const known = toBinary(
      AttachResponseSchema,
      create(AttachResponseSchema, { message: { case: "verdicts", value: { verdicts: [] } } }),
    );
    const unknown = new BinaryWriter().tag(40, WireType.Bit64).fixed64(7).tag(41, WireType.Bit32).fixed32(7);
    const buffer = Buffer.concat([unknown.tag(42, WireType.Varint).uint32(300).finish(), known]);
    expect(openResponse(buffer).field).toBe(responseField.verdicts);
    for (const schema of [AttachRequestSchema, AttachResponseSchema]) {
      const named = schema === AttachRequestSchema ? requestField : responseField;
      const numbers = Object.fromEntries(
        schema.fields
          .filter(({ oneof }) => oneof !== undefined)
          .map(({ localName, number }) => [localName, number]),
      );
      expect(named).toEqual(numbers);
    }
  });
});

describe("bytes that are no message end in an error, whatever they are", () => {
  const readers = [
    (buffer: Buffer) => scanLeases(buffer, 0, buffer.length),
    (buffer: Buffer) => scanVerdicts(buffer, 0, buffer.length),
    (buffer: Buffer) => scanReport(buffer),
    (buffer: Buffer) => openResponse(buffer),
  ];

  test("noise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (noise) => {
        for (const read of readers) {
          try {
            read(asBuffer(noise));
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
            expect(error).not.toBeInstanceOf(TypeError);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("messages that are cut short", () => {
    const message = create(LeasesSchema, {
      delivery: 300n,
      leases: [{ jobId: "job", fencingToken: 1n, payload: new Uint8Array(9), disconnectPolicy: 1 }],
    });
    const whole = asBuffer(toBinary(LeasesSchema, message));
    for (let length = 4; length < whole.length; length++) {
      expect(() => scanLeases(whole, 0, length)).toThrow(WireError);
    }
  });

  test("values that are not known are refused, not defaulted", () => {
    const odd = create(LeasesSchema, { leases: [{ jobId: "a", disconnectPolicy: 9 as DisconnectPolicy }] });
    const encoded = asBuffer(toBinary(LeasesSchema, odd));
    expect(() => scanLeases(encoded, 0, encoded.length)).toThrow("disconnect policy 9 is unknown");
    const nameless = asBuffer(toBinary(LeasesSchema, create(LeasesSchema, { leases: [{ kind: "a" }] })));
    expect(() => scanLeases(nameless, 0, nameless.length)).toThrow("a lease names no job");
    const silent = asBuffer(toBinary(VerdictsSchema, create(VerdictsSchema, { verdicts: [{ jobId: "a" }] })));
    expect(() => scanVerdicts(silent, 0, silent.length)).toThrow("verdict 0 is unknown");
  });

  test("a counter beyond what a number can hold is refused, not rounded", () => {
    const message = create(LeasesSchema, { delivery: 2n ** 53n });
    const encoded = asBuffer(toBinary(LeasesSchema, message));
    expect(() => scanLeases(encoded, 0, encoded.length)).toThrow("larger than 2^53");
  });
});
