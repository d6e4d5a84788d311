import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classOf, FailureClass, identifyFailure, patternOf } from "./failure-class.js";

describe("the class of a failure", () => {
  it.each([
    ["HTTP_429", "", "RateLimited"],
    ["RATE_LIMITED", "", "RateLimited"],
    ["UNKNOWN", "the API answered: Too Many Requests", "RateLimited"],
    ["HTTP_500", "", "ServerError"],
    ["HTTP_503", "timed out", "ServerError"],
    ["ERROR", "request failed with status code 502", "ServerError"],
    ["HTTP_504", "", "Timeout"],
    ["ETIMEDOUT", "", "Timeout"],
    ["ERROR", "The operation timed out after 30 s", "Timeout"],
    ["DEADLINE_EXCEEDED", "4 DEADLINE_EXCEEDED: no answer", "Timeout"],
    ["DEADLINE_EXCEEDED", "The deadline of the job passed.", "Deadline"],
    ["WORKER_LOST", "", "WorkerLost"],
    ["HTTP_401", "", "Denied"],
    ["PERMISSION_DENIED", "", "Denied"],
    ["HTTP_404", "", "NotFound"],
    ["ENOENT", "", "NotFound"],
    ["HTTP_422", "", "ClientError"],
    ["ECONNREFUSED", "", "Connection"],
    ["TYPE_ERROR", "fetch failed", "Connection"],
    ["SCHEMA_MISMATCH", "", "SchemaMismatch"],
    ["ERROR", "validation failed: size must be a number", "SchemaMismatch"],
    ["PARSE_ERROR", "", "ParseError"],
    ["SYNTAX_ERROR", "Unexpected token < in JSON at position 0", "ParseError"],
    ["ENOSPC", "", "Exhausted"],
    ["BOOM", "it broke", "Other"],
    ["UNKNOWN", "", "Other"],
    ["PART_5001", "", "Other"],
  ] as const)("%s: %s is %s", (code, message, name) => {
    expect(classOf({ code, message })).toBe(FailureClass[name]);
  });
});

describe("the fingerprint of a failure", () => {
  it.each([
    ["order 17 is late", "order 4711 is late"],
    [
      'no part "a" in 0198c7f0-0000-7000-8000-000000000001',
      "no part 'b c' in 0198c7f0-ffff-7000-8000-00000000000f",
    ],
    ["GET https://one.example/a?b=1 failed", "GET http://two.example failed"],
    ["since 2026-11-21T16:45:55Z", "since 2026-01-02 03:04:05.678+01:00"],
    ["commit 9ba97120 is gone", "commit 0a1b2c3d4e5f is gone"],
    ["broke\n  at one.js:1", "broke\n  at two.js:2"],
    ["mail to ada@example.org bounced", "mail to b.o.b@mail.example.com bounced"],
  ])("is the same for %j and %j", (one, other) => {
    const [a, b] = [one, other].map((message) => identifyFailure({ code: "BOOM", message }));

    expect(a).toEqual(b);
    expect(a?.fingerprint).toMatch(/^[0-9a-f]{12}$/);
  });

  it("differs by code and by what the message says", () => {
    const prints = [
      { code: "A", message: "no ink" },
      { code: "B", message: "no ink" },
      { code: "A", message: "no paper" },
    ].map((failure) => identifyFailure(failure).fingerprint);

    expect(new Set(prints).size).toBe(3);
  });

  it("is found for any text at all, in bounded time and length", () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ maxLength: 4_096 }), (code, message) => {
        const { pattern, fingerprint } = identifyFailure({ code, message });
        expect(pattern.length).toBeLessThanOrEqual(200);
        expect(fingerprint).toHaveLength(12);
        expect(identifyFailure({ code, message }).fingerprint).toBe(fingerprint);
      }),
    );
    for (const nasty of [
      "a".repeat(4_096),
      '"'.repeat(4_096),
      "1-".repeat(2_048),
      "a@".repeat(2_048),
      "x://".repeat(1_000),
    ])
      expect(patternOf(nasty).length).toBeLessThanOrEqual(200);
  });
});
