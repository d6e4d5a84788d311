import fc from "fast-check";
import { expect, test } from "vitest";
import { AddressRing, shuffled } from "./address-ring.js";

test("the ring goes round, and the others are those after the current one, in turn", () => {
  const ring = new AddressRing(["one", "two", "three"]);
  const seen = [1, 2, 3, 4].map(() => {
    const step = [ring.current, ...ring.others];
    ring.advance();
    return step.join(" ");
  });
  expect(seen).toEqual(["one two three", "two three one", "three one two", "one two three"]);
});

test("a reserved address is the next one, once", () => {
  const ring = new AddressRing(["one", "two", "three"]);
  ring.reserve("three");
  ring.advance();
  expect(ring.current).toBe("three");
  ring.advance();
  expect(ring.current).toBe("one");
});

test("a shuffled list holds each address once, and every address comes first about equally often", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 1 }), (addresses) => {
      expect(shuffled(addresses, Math.random).sort()).toEqual([...addresses].sort());
    }),
  );
  const first = new Map<string, number>();
  for (let draw = 0; draw < 3_000; draw++) {
    const [address = ""] = shuffled(["one", "two", "three"], Math.random);
    first.set(address, (first.get(address) ?? 0) + 1);
  }
  for (const count of first.values()) expect(Math.abs(count - 1_000)).toBeLessThan(200);
});
