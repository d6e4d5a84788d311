import { generateKeyPairSync, sign, verify } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bundleFormat,
  digestOfSeal,
  endLine,
  LinesDigest,
  operationLine,
  type SignedType,
  sealLine,
  startLine,
} from "./audit.js";
import { BundleCheck, BundleDefect, type KnownSeal, type ReadSigned } from "./audit-check.js";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");

function signed(type: SignedType, payload: object): string {
  const parts = [{ typ: type }, payload].map((part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url"),
  );
  return `${parts.join(".")}.${sign(null, Buffer.from(parts.join(".")), privateKey).toString("base64url")}`;
}

const readSigned: ReadSigned = async (jws, type) => {
  const [header = "", payload = "", signature = ""] = jws.split(".");
  const bytes = Buffer.from(`${header}.${payload}`);
  if (!verify(null, bytes, publicKey, Buffer.from(signature, "base64url"))) throw new Error("bad signature");
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
  if (read(header).typ !== type) throw new Error("another type");
  return read(payload);
};

const record = (n: number) => ({
  operationId: `01980000-0000-7000-8000-00000000000${n}`,
  at: `2026-01-01T00:00:0${n}.000001Z`,
  subject: "ann",
  action: "pause.set",
  target: `queue:default/mail-${n}`,
  reason: "“ünï”\n",
  ticket: "OPS-1",
  before: null,
  after: '{"note": "x", "big": 12345678901234567890}',
});

/** Lines of a bundle of seals with so many operations each. */
function bundleOf(counts: readonly number[], first = 1, previous = ""): string[] {
  const last = first + counts.length - 1;
  const lines = [startLine({ bundle: bundleFormat, tenant: "acme", first, last })];
  let head = previous;
  for (const [at, count] of counts.entries()) {
    const operations = Array.from({ length: count }, (_, n) => operationLine(record(n)));
    const sha256 = operations.reduce((digest, line) => digest.add(line), new LinesDigest()).toString();
    const sealedAt = "2026-01-01T00:00:10.000000Z";
    const seal = signed("holdfast-seal", {
      tenant: "acme",
      number: first + at,
      previous: head,
      operations: { count, sha256 },
      sealedAt,
    });
    lines.push(sealLine(seal), ...operations);
    head = digestOfSeal(seal);
  }
  const sha256 = lines.reduce((digest, line) => digest.add(line), new LinesDigest()).toString();
  const end = { tenant: "acme", first, last, head, sha256, exportedAt: "now" };
  return [...lines, endLine(signed("holdfast-bundle", end))];
}

async function check(lines: readonly (string | Uint8Array)[], known: readonly KnownSeal[] = []) {
  const bundle = new BundleCheck(readSigned, known);
  for (const line of lines) await bundle.take(Buffer.from(line));
  return bundle.finish();
}

const whole = bundleOf([2, 1, 3]);

describe("a bundle", () => {
  it("that is as it was signed is verified, and says what is in it (D22)", async () => {
    expect(await check(whole)).toMatchObject({
      tenant: "acme",
      first: 1,
      last: 3,
      operations: 6,
      previous: "",
    });
    expect(await check(bundleOf([]))).toMatchObject({
      first: 1,
      last: 0,
      operations: 0,
      head: "",
      sealedAt: null,
    });
    for (const line of whole.filter((text) => text.includes('"operation"')))
      expect(JSON.parse(line)).toBeTruthy();
  });

  it("with any one byte changed is not (D22)", async () => {
    const places = fc
      .nat(whole.length - 1)
      .chain((line) =>
        fc.tuple(
          fc.constant(line),
          fc.nat(Buffer.byteLength(whole[line] as string) - 1),
          fc.integer({ min: 1, max: 255 }),
        ),
      );
    await fc.assert(
      fc.asyncProperty(places, async ([line, at, flip]) => {
        const changed = whole.map((text) => Buffer.from(text));
        const bytes = changed[line] as Buffer;
        bytes[at] = (bytes[at] as number) ^ flip;
        await expect(check(changed)).rejects.toBeInstanceOf(BundleDefect);
      }),
      { numRuns: 600 },
    );
  });

  it("with a line left out, doubled, moved or added is not (D22)", async () => {
    const other = bundleOf([1]);
    for (let at = 0; at < whole.length; at += 1) {
      const changes = [
        whole.toSpliced(at, 1),
        whole.slice(0, at),
        whole.toSpliced(at, 0, whole[at] as string),
        whole.toSpliced(at, 0, operationLine(record(9))),
        whole.toSpliced(at, 0, other[1] as string),
        ...(at > 0 ? [whole.toSpliced(at - 1, 2, whole[at] as string, whole[at - 1] as string)] : []),
      ];
      for (const lines of changes) await expect(check(lines)).rejects.toBeInstanceOf(BundleDefect);
    }
    await expect(check([...whole, whole[0] as string])).rejects.toThrow("Something follows the end.");
  });

  it("whose seals were made anew by the key is told from what is known of them", async () => {
    const { head } = await check(whole);
    expect(await check(whole, [{ number: 3, digest: head }])).toMatchObject({ head });
    const anew = bundleOf([2, 1, 2]);
    expect(await check(anew)).toMatchObject({ last: 3 });
    await expect(check(anew, [{ number: 3, digest: head }])).rejects.toThrow("Seal 3 is another");
  });

  it("follows the bundle before it, or is told from one that does not", async () => {
    const { head } = await check(whole);
    expect(await check(bundleOf([1], 4, head), [{ number: 3, digest: head }])).toMatchObject({
      previous: head,
    });
    const stranger = digestOfSeal("another");
    await expect(check(bundleOf([1], 4, stranger), [{ number: 3, digest: head }])).rejects.toThrow(
      "Seal 3 is another than the one that is known.",
    );
    await expect(check(bundleOf([1], 1, stranger))).rejects.toThrow("Seal 1 does not begin the chain.");
  });

  it("without seals says which one it comes after, and is told from what is known of that", async () => {
    const { head } = await check(whole);
    const known = [{ number: 3, digest: head }];
    expect(await check(bundleOf([], 4, head), known)).toMatchObject({
      previous: head,
      head,
      agreesWith: [3],
    });
    await expect(check(bundleOf([], 4, digestOfSeal("another")), known)).rejects.toThrow("Seal 3 is another");
  });

  it("says which of the known seals it agrees with, and not of those that it does not reach", async () => {
    const { head } = await check(whole);
    const far = { number: 9, digest: head };
    expect(await check(whole, [{ number: 3, digest: head }, far])).toMatchObject({ agreesWith: [3] });
  });

  it("of which a signed part is of another type, tenant or place is not verified", async () => {
    const seal = {
      tenant: "acme",
      number: 1,
      previous: "",
      operations: { count: 0, sha256: `${new LinesDigest()}` },
    };
    const start = startLine({ bundle: bundleFormat, tenant: "acme", first: 1, last: 1 });
    for (const [type, change, why] of [
      ["holdfast-bundle", {}, /not signed by a key that is trusted: another type/],
      ["holdfast-seal", { tenant: "other" }, /is of tenant other/],
      ["holdfast-seal", { number: 2 }, /Seal 1 should stand here/],
    ] as const)
      await expect(check([start, sealLine(signed(type, { ...seal, ...change }))])).rejects.toThrow(why);
  });
});
