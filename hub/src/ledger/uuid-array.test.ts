import fc from "fast-check";
import { expect, it } from "vitest";
import { uuidArray } from "./uuid-array.js";

it("an array holds its ids in PostgreSQL's binary form", () => {
  fc.assert(
    fc.property(fc.array(fc.uuid(), { minLength: 1, maxLength: 20 }), (ids) => {
      const array = uuidArray(ids);
      expect(array.subarray(0, 20).toString("hex")).toBe(
        `000000010000000000000b86${ids.length.toString(16).padStart(8, "0")}00000001`,
      );
      const members = ids.map((id) => `00000010${id.replaceAll("-", "")}`);
      expect(array.subarray(20).toString("hex")).toBe(members.join(""));
    }),
  );
});

it("what is not a canonical id is refused", () => {
  const id = "0190a8b0-0000-7000-8000-00000000000f";
  for (const other of [
    "",
    id.slice(1),
    `${id}0`,
    id.toUpperCase(),
    id.replace("f", "g"),
    id.replaceAll("-", "0"),
    id.replace("0190", "01é0"),
    "}',{".padEnd(36, "0"),
  ])
    expect(() => uuidArray([id, other]), other).toThrow(TypeError);
});
