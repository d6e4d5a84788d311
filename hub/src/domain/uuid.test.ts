import { v7 } from "uuid";
import { describe, expect, it } from "vitest";
import { firstUuid, isUuid, lastUuid } from "./uuid.js";

describe("a UUID", () => {
  it("is accepted in its canonical lower-case form", () => {
    for (const id of [v7(), firstUuid, lastUuid]) expect(isUuid(id)).toBe(true);
  });

  it.each([
    ["nothing", ""],
    ["upper case", v7().toUpperCase().replace(/\d/g, "A")],
    ["braces", `{${v7()}}`],
    ["no dashes", v7().replaceAll("-", "")],
    ["a line break at its end", `${v7()}\n`],
    ["something before it", `,${v7()}`],
    ["a letter that is no digit", v7().replace(/^./, "g")],
  ])("is refused with %s", (_, text) => {
    expect(isUuid(text)).toBe(false);
  });

  it("lies between the first and the last", () => {
    const id = v7();
    expect(firstUuid < id && id < lastUuid).toBe(true);
  });
});
