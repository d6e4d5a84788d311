import { DependencyKind, FailurePolicy, Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { describe, expect, test } from "vitest";
import { parseRunFile } from "./run-file.js";

const run = (children: readonly object[], more: object = {}) =>
  JSON.stringify({ parent: { kind: "sum", idempotencyKey: "s" }, children, ...more });

describe("a run in a file", () => {
  test("has a parent, children that name each other by keys of their own, and what undoes them", () => {
    const { parent, children, failurePolicy, stopGraceMs } = parseRunFile(
      run(
        [
          { kind: "fetch", key: "fetch", priority: "high" },
          {
            kind: "part",
            payload: { part: 1 },
            after: ["fetch"],
            compensation: { kind: "unpart", onRunFailure: true },
          },
          { kind: "part", afterEnded: ["fetch"], idempotencyKey: "own" },
        ],
        { failurePolicy: "wait-for-all", stopGrace: "2s" },
      ),
    );

    expect(parent).toMatchObject({ kind: "sum", idempotencyKey: "s" });
    expect([failurePolicy, stopGraceMs]).toEqual([FailurePolicy.WAIT_FOR_ALL, 2_000]);
    expect(children.map(({ key, spec }) => [key, spec.idempotencyKey])).toEqual([
      ["fetch", "s/fetch"],
      ["", ""],
      ["", "own"],
    ]);
    expect(children[0]?.spec.priority).toBe(Priority.HIGH);
    expect(children[1]?.spec).toMatchObject({
      dependsOn: [{ on: { case: "idempotencyKey", value: "s/fetch" }, kind: DependencyKind.HARD }],
      compensation: { onRunFailure: true, job: { kind: "unpart" } },
    });
    expect(children[2]?.spec.dependsOn).toMatchObject([{ kind: DependencyKind.SOFT }]);
  });

  test("may be lines, the parent first; without a key of the parent it is another run each time", () => {
    const lines = '{"kind":"sum"}\n\n{"kind":"a","key":"x"}\n{"kind":"b","after":["x"]}\n';

    const [one, two] = [parseRunFile(lines), parseRunFile(lines)];

    expect(one.children.map(({ spec }) => spec.kind)).toEqual(["a", "b"]);
    expect(one.children[0]?.spec.idempotencyKey).toMatch(/^run-[0-9a-f]{12}\/x$/);
    expect(one.children[0]?.spec.idempotencyKey).not.toBe(two.children[0]?.spec.idempotencyKey);
  });

  test.each([
    ["nothing", "", /no run in the file/],
    ["what is no JSON", "{", /Line 1 is not JSON/],
    ["no children", run([]), /no children/],
    ["children that are no list", run({} as never), /"children" must be a list/],
    ["a child that is no object", run(["a" as never]), /children\[0\] is not a JSON object/],
    ["an unknown field of the run", run([{ kind: "a" }], { policy: 1 }), /no field "policy" of a run/],
    ["an unknown field of a child", run([{ kind: "a", prio: 1 }]), /children\[0\]: there is no field "prio"/],
    [
      "an unknown policy",
      run([{ kind: "a" }], { failurePolicy: "no" }),
      /field "failurePolicy": "no" is not one of/,
    ],
    ["a child without a kind", run([{}]), /children\[0\] names no kind/],
    [
      "a key twice",
      run([
        { kind: "a", key: "x" },
        { kind: "b", key: "x" },
      ]),
      /children\[1\], field "key": children\[0\]/,
    ],
    ["a key that is no text", run([{ kind: "a", key: 1 }]), /children\[0\], field "key"/],
    ["two kinds of key", run([{ kind: "a", key: "x", idempotencyKey: "y" }]), /do not go together/],
    [
      "a key that nobody has",
      run([
        { kind: "a", key: "x" },
        { kind: "b", after: ["y"] },
      ]),
      /waits for "y", and no child/,
    ],
    ["a child that waits for itself", run([{ kind: "a", key: "x", after: ["x"] }]), /each other: x → x\./],
    [
      "a circle, by name, also behind others",
      run([
        { kind: "a", key: "x", after: ["y"] },
        { kind: "b", key: "y", afterEnded: ["z"] },
        { kind: "c", key: "z", after: ["x"] },
        { kind: "d", key: "free" },
        { kind: "e", after: ["x", "free"] },
      ]),
      /each other: x → y → z → x\./,
    ],
    [
      "a parent that waits for others",
      '{"kind":"sum","after":["x"]}\n{"kind":"a"}',
      /a parent has no "after"/,
    ],
    [
      "a compensation that is not one",
      run([{ kind: "a", compensation: { kind: "u", onRunFailure: "yes" } }]),
      /children\[0\]\.compensation, field "onRunFailure"/,
    ],
    [
      "more children than a call takes",
      run(Array.from({ length: 1_001 }, () => ({ kind: "a" }))),
      /has 1001 children; one call takes 1000/,
    ],
  ])("is refused with %s", (_, content, message) => {
    expect(() => parseRunFile(content)).toThrow(message);
  });
});
