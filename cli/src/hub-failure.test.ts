import { expect, test } from "vitest";
import { EXIT } from "./exit-codes.js";
import { hubFailure } from "./hub-failure.js";

const failure = (code: string) => Object.assign(new Error(`failed with ${code}`), { code });

test.each([
  ["ECONNREFUSED", EXIT.unavailable, "LEDGER_UNAVAILABLE"],
  ["57P03", EXIT.unavailable, "LEDGER_UNAVAILABLE"],
  ["55P03", EXIT.unavailable, "LEDGER_LOCKED"],
  ["40P01", EXIT.unavailable, "LEDGER_LOCKED"],
  ["42501", EXIT.refused, "CANNOT_OPEN"],
  ["EADDRINUSE", EXIT.refused, "CANNOT_OPEN"],
])("%s ends with %d and %s, be it the cause of another error or not", (code, exitCode, reason) => {
  expect(hubFailure(failure(code))).toMatchObject({ exitCode, reason });
  expect(hubFailure(new Error("wrapped", { cause: failure(code) }))).toMatchObject({ exitCode, reason });
});

test("a lock that was not to be had is told as something to run again", () => {
  expect(hubFailure(failure("55P03"))).toMatchObject({ next: expect.stringContaining("Run it again") });
});
