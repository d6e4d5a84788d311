import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodePageToken, encodePageToken } from "./page-token.js";

const listed = { kind: "greet", states: [3] };

describe("a page token", () => {
  it("gives back the position that it was made of, and is safe in a URL", () => {
    fc.assert(
      fc.property(fc.string(), (position) => {
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
});
