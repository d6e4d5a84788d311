import { describe, expect, it } from "vitest";
import { clusterOf, type DeadJob, toDeadLetter } from "./dead-letter.js";
import { FailureClass } from "./failure-class.js";

function letter(jobId: string, diedAtMs: number, overrides: Partial<DeadJob> = {}) {
  const failure = { code: "HTTP_429", message: `slow down, ${jobId}`, permanent: false };
  const job = { jobId, product: "p", queue: "q", kind: "order", attempt: 5, attemptsMax: 5 };
  return toDeadLetter({ ...job, submittedAtMs: 0, diedAtMs, failure, resolution: null, ...overrides });
}

describe("clusters of dead letters", () => {
  it("hold what failed alike, the largest first, and show the newest of each", () => {
    const parse = { failure: { code: "PARSE_ERROR", message: "Unexpected token", permanent: true } };

    const clusters = clusterOf([
      letter("1", 10, parse),
      letter("2", 20),
      letter("3", 40, { kind: "mail" }),
      letter("4", 30),
    ]);

    expect(clusters).toMatchObject([
      {
        failureClass: FailureClass.RateLimited,
        code: "HTTP_429",
        pattern: "slow down, <n>",
        count: 3,
        kinds: ["order", "mail"],
        oldestDiedAtMs: 20,
        newestDiedAtMs: 40,
        sample: { jobId: "3" },
      },
      { failureClass: FailureClass.ParseError, count: 1, sample: { jobId: "1" } },
    ]);
  });

  it("of nothing are none", () => {
    expect(clusterOf([])).toEqual([]);
  });
});
