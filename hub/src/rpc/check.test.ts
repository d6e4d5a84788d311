import { v7 } from "uuid";
import { describe, expect, it } from "vitest";
import { Fault } from "../domain/fault.js";
import { Priority } from "../domain/job-spec.js";
import * as check from "./check.js";

/** The refusal that a check ends with. */
function refusal(act: () => unknown): Fault {
  try {
    act();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error("accepted");
}

function expectInvalid(act: () => unknown): void {
  const fault = refusal(act);
  expect(fault.reason).toBe("INVALID_FIELD");
  expect(fault.metadata).toMatchObject({ field: "job.field", rule: expect.any(String) });
  expect(fault.message).toContain("job.field");
}

describe("a name", () => {
  it.each(["a", "greet", "0", "site-7_b.x", "a".repeat(128)])("may be %s", (name) => {
    expect(check.checkName("job.field", name)).toBe(name);
  });

  it.each(["", "Greet", "-a", ".a", "a b", "a/b", "a,b", "ä", "a\n", "a\0", "a".repeat(129)])(
    "may not be %j",
    (name) => expectInvalid(() => check.checkName("job.field", name)),
  );

  it("that is absent is the default, where there is one", () => {
    expect(check.checkName("job.field", "", "default")).toBe("default");
  });
});

describe("text", () => {
  it("is bounded in bytes of UTF-8, not in characters", () => {
    expect(check.checkText("job.field", "äö", 4)).toBe("äö");
    expectInvalid(() => check.checkText("job.field", "äöü", 5));
    expectInvalid(() => check.checkText("job.field", "", 5, 1));
  });

  it.each(["a\0b", "\ud800", "\udc00a"])("that the ledger cannot hold is refused: %j", (text) => {
    expectInvalid(() => check.checkText("job.field", text, 100));
  });
});

describe("bytes", () => {
  it("beyond their limit are refused with the limit's name and value", () => {
    expect(check.checkBytes("job.payload", Buffer.alloc(10), 10, "payloadBytesMax")).toHaveLength(10);

    const fault = refusal(() => check.checkBytes("job.payload", Buffer.alloc(11), 10, "payloadBytesMax"));

    expect(fault.reason).toBe("PAYLOAD_TOO_LARGE");
    expect(fault.metadata).toEqual({ field: "job.payload", limit: "payloadBytesMax", value: "10" });
  });
});

describe("a number", () => {
  it("lies within its bounds, both allowed", () => {
    expect(check.checkInteger("job.field", 1, 1, 3)).toBe(1);
    expect(check.checkInteger("job.field", 3n, 1, 3)).toBe(3);
    expectInvalid(() => check.checkInteger("job.field", 0, 1, 3));
    expectInvalid(() => check.checkInteger("job.field", 1n << 62n, 1, 3));
    expectInvalid(() => check.checkCount("job.field", 4, 1, 3));
  });

  it("of an enum is one that is known; the unset one is the default or refused, never guessed", () => {
    expect(check.checkEnum("job.field", 3, Priority, Priority.Normal)).toBe(Priority.High);
    expect(check.checkEnum("job.field", 0, Priority, Priority.Normal)).toBe(Priority.Normal);
    expectInvalid(() => check.checkEnum("job.field", 0, Priority, null));
    for (const unknown of [5, -1, 99])
      expectInvalid(() => check.checkEnum("job.field", unknown, Priority, Priority.Normal));
  });

  it("of a page's size is 50 when unset, and at most 500", () => {
    expect([0, 1, 500].map(check.checkPageSize)).toEqual([50, 1, 500]);
    for (const bad of [-1, 501])
      expect(refusal(() => check.checkPageSize(bad)).metadata.field).toBe("page_size");
  });
});

describe("an id", () => {
  it("is a canonical UUID", () => {
    const id = v7();

    expect(check.checkUuid("job.field", id)).toBe(id);
    for (const bad of ["", id.toUpperCase(), `${id} `, "1"])
      expectInvalid(() => check.checkUuid("job.field", bad));
  });
});

const duration = (seconds: bigint, nanos = 0) =>
  ({ $typeName: "google.protobuf.Duration", seconds, nanos }) as const;
const time = (seconds: bigint, nanos = 0) =>
  ({ $typeName: "google.protobuf.Timestamp", seconds, nanos }) as const;

describe("a duration", () => {
  it("is milliseconds, rounded up, so that a short one never becomes none", () => {
    expect(check.checkDuration("job.field", duration(1n, 500_000_000), 5_000, 7)).toBe(1_500);
    expect(check.checkDuration("job.field", duration(0n, 1), 5_000, 7)).toBe(1);
    expect(check.checkDuration("job.field", duration(0n), 5_000, 7)).toBe(0);
    expect(check.checkDuration("job.field", undefined, 5_000, 7)).toBe(7);
  });

  it("that is negative or too long is refused", () => {
    for (const bad of [duration(-1n), duration(5n, 1), duration(1n << 62n)])
      expectInvalid(() => check.checkDuration("job.field", bad, 5_000, 0));
  });
});

describe("a time", () => {
  it("is milliseconds since 1970, or null when it is not set", () => {
    expect(check.checkTime("job.field", time(1_700_000_000n, 123_999_999))).toBe(1_700_000_000_123);
    expect(check.checkTime("job.field", undefined)).toBeNull();
  });

  it("outside the years 2000 to 9999, or with broken nanoseconds, is refused", () => {
    for (const bad of [
      time(0n),
      time(-1n),
      time(253_402_300_800n),
      time(1n << 62n),
      time(1_700_000_000n, -1),
    ])
      expectInvalid(() => check.checkTime("job.field", bad));
    expectInvalid(() => check.checkTime("job.field", time(1_700_000_000n, 1_000_000_000)));
  });
});
