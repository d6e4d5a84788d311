import { validate, version } from "uuid";
import { expect, it } from "vitest";
import { newId } from "./new-id.js";

it("ids are UUIDs of version 7 that rise, however many come in a millisecond", () => {
  const ids = Array.from({ length: 20_000 }, newId);
  expect(ids.every((id) => validate(id) && version(id) === 7)).toBe(true);
  expect([...new Set(ids)].sort()).toEqual(ids);
});
