import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jobSpec } from "../../test/harness/job-spec.js";
import { contentDigest, type JobSpec } from "./job-spec.js";
import { defaultRetryPolicy } from "./retry.js";

const other: readonly (readonly [string, Partial<JobSpec>])[] = [
  ["kind", { kind: "part" }],
  ["product", { product: "press" }],
  ["queue", { queue: "night" }],
  ["priority", { priority: 3 }],
  ["capabilities", { capabilities: ["gpu"] }],
  ["payload", { payload: Buffer.from("hello!") }],
  ["content type", { contentType: "text/plain" }],
  ["time to run", { runAtMs: 1 }],
  ["deadline", { deadlineMs: 1 }],
  ["attempts", { retry: { ...defaultRetryPolicy, maxAttempts: 6 } }],
  ["first backoff", { retry: { ...defaultRetryPolicy, initialBackoffMs: 1 } }],
  ["growth of backoff", { retry: { ...defaultRetryPolicy, factor: 3 } }],
  ["bound of backoff", { retry: { ...defaultRetryPolicy, maxBackoffMs: 1 } }],
  ["disconnect policy", { options: { finishAndReport: { limitMs: 1 } } }],
  ["permanent codes", { retry: { ...defaultRetryPolicy, permanentCodes: ["A"] } }],
  ["permanent classes", { retry: { ...defaultRetryPolicy, permanentClasses: [1] } }],
  ["time to start", { options: { startByMs: 1 } }],
  ["unique key", { options: { unique: { key: "k", policy: 1 } } }],
  ["source", { source: "api.example" }],
  ["fairness key", { fairness: { key: "a", weight: 1 } }],
  ["labels", { options: { labels: { site: "north" } } }],
];

describe("the content of a submit (D2)", () => {
  it.each(other)("is another with another %s", (_, overrides) => {
    expect(contentDigest(jobSpec(overrides))).not.toEqual(contentDigest(jobSpec()));
  });

  it("is what it was before sources and fairness keys, for a job without them", () => {
    expect(contentDigest(jobSpec()).toString("hex")).toBe(
      "2dd3772e167b3a3f59f929c33c02f6be242cebf94735db87f50140d425c5265a",
    );
  });

  it("is another with another weight", () => {
    const [one, two] = [1, 2].map((weight) => contentDigest(jobSpec({ fairness: { key: "a", weight } })));

    expect(one).not.toEqual(two);
  });

  it("is the same whatever the idempotency key and the trace context are", () => {
    const traced = jobSpec({
      idempotencyKey: "k",
      options: { idempotencyKey: "k", traceContext: { traceparent: "00-1", tracestate: "" } },
    });

    expect(contentDigest(traced)).toEqual(contentDigest(jobSpec()));
  });

  it("does not depend on the order in which labels were written", () => {
    const labels = fc.dictionary(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }), { maxKeys: 6 });
    fc.assert(
      fc.property(labels, (labels) => {
        const reversed = Object.fromEntries(Object.entries(labels).reverse());
        expect(contentDigest(jobSpec({ options: { labels: reversed } }))).toEqual(
          contentDigest(jobSpec({ options: { labels } })),
        );
      }),
    );
  });

  it("does not confuse a label's name with its value, nor two labels with one", () => {
    const labelled = (labels: Record<string, string>) => contentDigest(jobSpec({ options: { labels } }));

    expect(labelled({ a: "b", c: "d" })).not.toEqual(labelled({ a: 'b","c","d' }));
    expect(labelled({ ab: "c" })).not.toEqual(labelled({ a: "bc" }));
  });
});
