import pg from "pg";
import { describe, expect, it } from "vitest";
import { classifyFailure, type StatementFailure } from "./failure.js";

function refusal(code: string): pg.DatabaseError {
  const error = new pg.DatabaseError("no", 0, "error");
  error.code = code;
  return error;
}

describe("a failed statement", () => {
  it.each<[StatementFailure, string, string]>([
    ["connection", "08006", "the connection failed"],
    ["connection", "25006", "the server is read-only: a standby"],
    ["connection", "26000", "the session forgot what was prepared"],
    ["connection", "53100", "the disk is full"],
    ["connection", "55P03", "somebody holds a table"],
    ["connection", "57P01", "the server shuts down"],
    ["connection", "58030", "an I/O error"],
    ["conflict", "40001", "a serialization failure"],
    ["conflict", "40P01", "a deadlock"],
    ["held_up", "57014", "it took too long, or was cancelled"],
    ["held_up", "0A000", "a plan does not fit any more"],
    ["held_up", "42501", "a right was revoked"],
    ["held_up", "XX000", "an internal error"],
    ["refused", "21000", "a row is changed twice"],
    ["refused", "22P05", "a text cannot be held"],
    ["refused", "23514", "a check is violated"],
    ["refused", "54000", "a limit of the server is exceeded"],
    ["refused", "P0001", "a function raises it"],
  ])("is %s for %s: %s", (failure, code) => {
    expect(classifyFailure(refusal(code))).toBe(failure);
  });

  it("is refused when it cannot even be made, and the connection's otherwise", () => {
    expect(classifyFailure(new TypeError("not bytes"))).toBe("refused");
    expect(classifyFailure(new RangeError("too long"))).toBe("refused");
    expect(classifyFailure(new Error("Connection terminated unexpectedly"))).toBe("connection");
  });
});
