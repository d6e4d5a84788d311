import type { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { describe, expect, test } from "vitest";
import {
  absent,
  bad,
  forged,
  KiB,
  long,
  many,
  noUuid,
  testRefusals,
  useWitnessedHub,
} from "../harness/bad-calls.js";
import { duration, type JobInit } from "../harness/raw-jobs.js";

const house = useWitnessedHub();
const { submit, submitBatch, get, list, cancel, retry, watch } = JobService.method;
const job = (init: Record<string, unknown>) => ({ job: { kind: "work", ...init } as JobInit });
const tooLarge = [3, "PAYLOAD_TOO_LARGE"] as const;
const noJob = [5, "JOB_NOT_FOUND"] as const;

describe("a call about jobs that is refused says why, with ErrorInfo, on both ports", () => {
  testRefusals(house, [
    bad("no job", submit, {}, "job"),
    bad("no kind", submit, job({ kind: "" }), "job.kind"),
    bad("a kind in capitals", submit, job({ kind: "Work" }), "job.kind"),
    bad("a kind that is too long", submit, job({ kind: long(129) }), "job.kind"),
    bad("a product with a slash", submit, job({ product: "a/b" }), "job.product"),
    bad("a queue with a NUL", submit, job({ queue: "a\0b" }), "job.queue"),
    bad("an unknown priority", submit, job({ priority: 99 }), "job.priority"),
    bad("a negative priority", submit, job({ priority: -1 }), "job.priority"),
    bad("an unknown disconnect policy", submit, job({ disconnectPolicy: 7 }), "job.disconnect_policy"),
    bad("an oversized payload", submit, job({ payload: Buffer.alloc(4 * KiB + 1) }), "job.payload", tooLarge),
    bad("a content type that is too long", submit, job({ contentType: long(129) }), "job.content_type"),
    bad("a content type with a NUL", submit, job({ contentType: "a\0" }), "job.content_type"),
    bad(
      "too many capabilities",
      submit,
      job({ capabilities: many(17, (at) => `c${at}`) }),
      "job.capabilities",
    ),
    bad("a bad capability", submit, job({ capabilities: ["ok", "not ok"] }), "job.capabilities[1]"),
    bad("a source in capitals", submit, job({ source: "Api" }), "job.source"),
    bad("a source that is too long", submit, job({ source: long(129) }), "job.source"),
    bad("a fairness without a key", submit, job({ fairness: { weight: 2 } }), "job.fairness.key"),
    bad("a fairness key with a space", submit, job({ fairness: { key: "a b" } }), "job.fairness.key"),
    bad("a negative weight", submit, job({ fairness: { key: "a", weight: -1 } }), "job.fairness.weight"),
    bad(
      "a weight that is too large",
      submit,
      job({ fairness: { key: "a", weight: 1_001 } }),
      "job.fairness.weight",
    ),
    bad(
      "too many labels",
      submit,
      job({ labels: Object.fromEntries(many(101, (at) => [`k${at}`, ""])) }),
      "job.labels",
    ),
    bad("a label without a key", submit, job({ labels: { "": "v" } }), "job.labels key"),
    bad("a label key that is too long", submit, job({ labels: { [long(129)]: "v" } }), "job.labels key"),
    bad("a label that is too long", submit, job({ labels: { k: long(1_025) } }), "job.labels[k]"),
    bad("a label with a NUL", submit, job({ labels: { k: "\0" } }), "job.labels[k]"),
    bad(
      "an idempotency key that is too long",
      submit,
      job({ idempotencyKey: long(257) }),
      "job.idempotency_key",
    ),
    bad("a time before 2000", submit, job({ runAt: { seconds: 0n } }), "job.run_at"),
    bad("a time after 9999", submit, job({ deadline: { seconds: 2n ** 60n } }), "job.deadline"),
    bad(
      "a time with too many nanoseconds",
      submit,
      job({ runAt: { seconds: 2_000_000_000n, nanos: 2e9 } }),
      "job.run_at",
    ),
    bad("no attempts", submit, job({ retry: { maxAttempts: -1 } }), "job.retry.max_attempts"),
    bad("too many attempts", submit, job({ retry: { maxAttempts: 1_001 } }), "job.retry.max_attempts"),
    bad("a shrinking backoff", submit, job({ retry: { factor: 0.5 } }), "job.retry.factor"),
    bad("a factor that is no number", submit, job({ retry: { factor: Number.NaN } }), "job.retry.factor"),
    bad(
      "a negative backoff",
      submit,
      job({ retry: { initialBackoff: { seconds: -1n } } }),
      "job.retry.initial_backoff",
    ),
    bad(
      "a backoff that is too long",
      submit,
      job({ retry: { maxBackoff: { seconds: 10n ** 9n } } }),
      "job.retry.max_backoff",
    ),
    bad(
      "a limit beyond a day",
      submit,
      job({ disconnectLimit: duration(86_400_001) }),
      "job.disconnect_limit",
    ),
    bad(
      "a traceparent that is too long",
      submit,
      job({ traceContext: { traceparent: long(129) } }),
      "job.trace_context.traceparent",
    ),
    bad("an empty batch", submitBatch, { jobs: [] }, "jobs"),
    bad("a batch that is too long", submitBatch, { jobs: many(6, () => ({ kind: "work" })) }, "jobs"),
    bad("an id that is none", get, { jobId: noUuid }, "job_id"),
    bad("an id in capitals", get, { jobId: absent.toUpperCase().replace("0198", "ABCD") }, "job_id"),
    bad("no id", get, {}, "job_id"),
    bad("an absent job", get, { jobId: absent }, /^$/, noJob),
    bad("a page that is too long", list, { pageSize: 501 }, "page_size"),
    bad("a negative page", list, { pageSize: -1 }, "page_size"),
    bad("a page token that is none", list, { pageToken: "???" }, "page_token"),
    bad("a page token of another list", list, { pageToken: forged(absent, ["keys", 1]) }, "page_token"),
    bad(
      "a page token that is JSON, but no token",
      list,
      { pageToken: Buffer.from("5").toString("base64url") },
      "page_token",
    ),
    bad("an unknown state", list, { states: [42 as JobState] }, "states[0]"),
    bad("the unspecified state", list, { states: [0] }, "states[0]"),
    bad("too many states", list, { states: many(17, () => 3) }, "states"),
    bad("a bad kind filter", list, { kind: "A B" }, "kind"),
    bad("a label filter with a NUL", list, { labels: { a: "\0" } }, "labels[a]"),
    bad("a bad time filter", list, { submittedAfter: { seconds: -5n } }, "submitted_after"),
    bad("an id that is none", cancel, { jobId: noUuid }, "job_id"),
    bad("an absent job", cancel, { jobId: absent }, /^$/, noJob),
    bad("a reason that is too long", cancel, { jobId: absent, reason: long(1_025) }, "reason"),
    bad("a negative grace", cancel, { jobId: absent, grace: { seconds: -1n } }, "grace"),
    bad("a grace beyond a day", cancel, { jobId: absent, grace: duration(86_400_001) }, "grace"),
    bad("an id that is none", retry, { jobId: noUuid }, "job_id"),
    bad("an absent job", retry, { jobId: absent }, /^$/, noJob),
    bad("a reason with a NUL", retry, { jobId: absent, reason: "\0" }, "reason"),
  ]);
});

describe("Watch", () => {
  for (const [title, targets, code, reason, field] of [
    ["no targets", [], 3, "INVALID_FIELD", "targets"],
    ["too many targets", many(101, () => ({ jobId: absent })), 3, "INVALID_FIELD", "targets"],
    ["a job twice", [{ jobId: absent }, { jobId: absent }], 3, "INVALID_FIELD", "targets"],
    ["an id that is none", [{ jobId: noUuid }], 3, "INVALID_FIELD", "targets[0].job_id"],
    [
      "a negative revision",
      [{ jobId: absent, afterRevision: -1 }],
      3,
      "INVALID_FIELD",
      "targets[0].after_revision",
    ],
    ["an absent job", [{ jobId: absent }], 5, "JOB_NOT_FOUND", undefined],
  ] as const)
    test(`${title} is refused`, async () => {
      await house.changesNothing(async () => {
        const failure = await house.client().refused(watch, { targets: [...targets] });
        expect(failure).toMatchObject({ code, reason, domain: "holdfast" });
        expect(failure.metadata.field).toBe(field);
      });
    });
});

test("a batch with bad items accepts their neighbours, and says of each what is wrong", async () => {
  const client = house.client();
  const jobs = [
    { kind: "batched" },
    { kind: "batched", payload: Buffer.alloc(4 * KiB + 1) },
    { kind: "NO" },
    { kind: "batched", labels: { a: "\0" } },
    { kind: "batched" },
  ];
  const { results } = await client.call(submitBatch, { jobs });
  expect(results.map(({ result }) => result.case)).toEqual([
    "accepted",
    "refused",
    "refused",
    "refused",
    "accepted",
  ]);
  const refusals = results.flatMap(({ result }) => (result.case === "refused" ? [result.value] : []));
  expect(refusals.map((refusal) => [refusal.reason, refusal.metadata.field])).toEqual([
    ["PAYLOAD_TOO_LARGE", "jobs[1].payload"],
    ["INVALID_FIELD", "jobs[2].kind"],
    ["INVALID_FIELD", "jobs[3].labels[a]"],
  ]);
  const counted = await house.query(
    "select count(*)::integer as n from job j join lane using (lane_id) where kind = 'batched'",
  );
  expect(counted[0]?.n).toBe(2);
});
