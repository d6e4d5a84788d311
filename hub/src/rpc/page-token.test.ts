import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePageNumber, decodePageToken, encodePageToken } from "./page-token.js";

const listed = { kind: "greet", states: [3] };

describe("a page token", () => {
  it("gives back the position that it was made of, and is safe in a URL", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), (position) => {
        const token = encodePageToken(position, listed);
        expect(decodePageToken(token, listed)).toBe(position);
        expect(token).toMatch(/^[\w-]+$/);
      }),
    );
  });

  it("of another list is refused", () => {
    const token = encodePageToken("here", listed);

    expect(() => decodePageToken(token, { ...listed, kind: "part" })).toThrow(/page_token/);
  });

  it("that nobody made is refused like any other bad field", () => {
    const forged = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64url");
    const bad = [
      "",
      "x",
      "!!!",
      forged(null),
      forged([]),
      forged(["here"]),
      forged([7, JSON.stringify(listed)]),
      forged(["\0", JSON.stringify(listed)]),
      forged(["x".repeat(513), JSON.stringify(listed)]),
    ];

    for (const token of bad)
      expect(() => decodePageToken(token, listed)).toThrow(
        expect.objectContaining({ reason: "INVALID_FIELD" }),
      );
    fc.assert(
      fc.property(fc.string(), (token) => {
        expect(() => decodePageToken(token, listed)).toThrow(
          expect.objectContaining({ reason: "INVALID_FIELD" }),
        );
      }),
    );
  });

  it("of a number is one that the ledger can hold", () => {
    const decode = (position: string, max?: number) =>
      decodePageNumber(encodePageToken(position, listed), listed, max);

    expect(decode("2147483647")).toBe(2_147_483_647);
    expect(decode("7", 7)).toBe(7);
    for (const position of ["2147483648", "-1", "0.5", "x", "Infinity", "9007199254740993"])
      expect(() => decode(position)).toThrow(/page_token/);
    expect(() => decode("8", 7)).toThrow(/page_token/);
  });
});
