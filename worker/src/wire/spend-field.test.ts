import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import { ReportSchema } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import fc from "fast-check";
import { expect, it } from "vitest";
import { ResultBatch } from "./result-batch.js";
import { spendField } from "./spend-field.js";

const amount = fc.nat(Number.MAX_SAFE_INTEGER);

it("what an attempt spent is read back from its result, of a success and of any outcome", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(amount, amount, fc.boolean()), { minLength: 1, maxLength: 5 }),
      (spends) => {
        const batch = new ResultBatch();
        const bytes = Buffer.from("job");
        for (const [at, [costMicroUsd, tokens, isSuccess]] of spends.entries()) {
          const spent = spendField({ costMicroUsd, tokens });
          const identity = { bytes, jobIdStart: 0, jobIdEnd: 3, token: at + 1, spendField: spent };
          if (isSuccess) batch.addSuccess(at, identity, "done", 4, "text/plain");
          else batch.addOutcome(at, identity, toBinary(OutcomeSchema, failure));
        }
        const { results } = fromBinary(ReportSchema, batch.take().bytes);
        expect(results.map(({ spend }) => [Number(spend?.costMicroUsd), Number(spend?.tokens)])).toEqual(
          spends.map(([costMicroUsd, tokens]) => [costMicroUsd, tokens]),
        );
        expect(results.map(({ outcome }) => outcome?.outcome.case === "success")).toEqual(
          spends.map(([, , isSuccess]) => isSuccess),
        );
      },
    ),
  );
});

const failure = {
  $typeName: "holdfast.v1.Outcome",
  outcome: { case: "cancelled", value: { $typeName: "holdfast.v1.Cancelled", reason: "" } },
} as const;
