import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { JobFailure } from "@holdfast/worker";
import { afterEach, describe, expect, test } from "vitest";
import { digestFile, digestTree, listFiles } from "../src/scan/digest.js";
import { type ScanJob, scanPackage } from "../src/scan/scan-package.js";
import { decodeProgress, encodeProgress } from "../src/scan/scan-progress.js";
import { createFixture, type Fixture } from "./package-fixture.js";

let fixture: Fixture | undefined;
afterEach(async () => {
  await fixture?.remove();
  fixture = undefined;
});

const PACKAGE = {
  "p/package.json": { name: "p", version: "1.0.0", license: { type: "MIT" } },
  "p/LICENCE.md": "free",
  "p/lib/z.js": "z",
  "p/lib/a.js": "a",
  "p/lib/ä.js": "umlaut",
  "p/lib-b.js": "sorts before lib/",
  "p/test/node_modules/kept.js": "a file of the package itself",
  "p/node_modules/other/index.js": "another package",
  "p/link.js": "-> p/lib/a.js",
};

interface FakeJob extends ScanJob {
  readonly saved: Uint8Array[];
}

function fakeJob(payload: unknown, checkpoint?: Uint8Array, signal = new AbortController().signal): FakeJob {
  const saved: Uint8Array[] = [];
  return {
    saved,
    signal,
    json: <T>() => payload as T,
    progress: () => {},
    saveCheckpoint: async (state) => void saved.push(state as Uint8Array),
    ...(checkpoint === undefined ? {} : { checkpoint: { sequence: 1n, state: checkpoint } }),
  };
}

describe("the digest of a package", () => {
  test("is what find, sort and sha512sum say", async () => {
    fixture = await createFixture(PACKAGE);
    const { digest, files } = await scanPackage(fakeJob({ root: fixture.root, path: "p" }));
    const { stdout } = await promisify(execFile)(
      "sh",
      [
        "-c",
        "find . -path ./node_modules -prune -o -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha512sum | sha512sum",
      ],
      { cwd: join(fixture.root, "p") },
    );
    expect(digest).toBe(stdout.split(" ")[0]);
    expect(files).toBe(7);
  });

  test("is the same for the same files, and another for any other content, name or file", async () => {
    const digestOf = async (files: Record<string, string | object>) => {
      fixture = await createFixture({ ...PACKAGE, ...files });
      const { digest } = await scanPackage(fakeJob({ root: fixture.root, path: "p" }));
      await fixture.remove();
      return digest;
    };
    const digest = await digestOf({});
    expect(await digestOf({})).toBe(digest);
    expect(await digestOf({ "p/node_modules/other/index.js": "changed" })).toBe(digest);
    expect(await digestOf({ "p/lib/a.js": "b" })).not.toBe(digest);
    expect(await digestOf({ "p/lib/new.js": "" })).not.toBe(digest);
    expect(await digestOf({ "p/test/node_modules/kept.js": "changed" })).not.toBe(digest);
  });
});

describe("a scan", () => {
  test("reads the manifest and the licence file", async () => {
    fixture = await createFixture(PACKAGE);
    const result = await scanPackage(fakeJob({ root: fixture.root, path: "p" }));
    expect(result).toMatchObject({
      path: "p",
      manifest: { name: "p", version: "1.0.0", licence: "MIT" },
      licenceFile: "LICENCE.md",
    });
    expect(result.bytes).toBeGreaterThan(0);
  });

  test("saves a checkpoint of a big package, and the next attempt goes on from it (D7)", async () => {
    fixture = await createFixture(PACKAGE);
    await writeFile(join(fixture.root, "p/lib/big.bin"), Buffer.alloc(33 * 1024 * 1024, 1));
    const whole = fakeJob({ root: fixture.root, path: "p" });
    const result = await scanPackage(whole);
    expect(whole.saved).toHaveLength(1);
    // What was done before is not read again: the same length, another content, and still the same digest.
    await writeFile(join(fixture.root, "p/lib/big.bin"), Buffer.alloc(33 * 1024 * 1024, 2));
    const resumed = fakeJob({ root: fixture.root, path: "p" }, whole.saved[0]);
    expect(await scanPackage(resumed)).toEqual(result);
    expect(resumed.saved).toEqual([]);
  });

  test("begins anew when the package changed since the checkpoint", async () => {
    fixture = await createFixture(PACKAGE);
    const files = await listFiles(join(fixture.root, "p"));
    const stale = encodeProgress(["other.js"], { bytes: 5, digests: [new Uint8Array(64)] });
    expect(decodeProgress(files, stale)).toEqual({ bytes: 0, digests: [] });
    expect(decodeProgress(files, new Uint8Array(7))).toEqual({ bytes: 0, digests: [] });
    const fresh = await scanPackage(fakeJob({ root: fixture.root, path: "p" }));
    expect(await scanPackage(fakeJob({ root: fixture.root, path: "p" }, stale))).toEqual(fresh);
  });

  test("stops when its signal is aborted", async () => {
    fixture = await createFixture(PACKAGE);
    const signal = AbortSignal.abort(new Error("lease lost"));
    const job = fakeJob({ root: fixture.root, path: "p" }, undefined, signal);
    await expect(scanPackage(job)).rejects.toThrow("lease lost");
  });

  test.each([
    ["a payload of another shape", { root: 1 }, "BAD_PAYLOAD"],
    ["no payload", null, "BAD_PAYLOAD"],
    ["a directory that is no package", { root: "/", path: "nowhere" }, "NOT_A_PACKAGE"],
  ])("fails for good on %s", async (_name, payload, code) => {
    const failure = await scanPackage(fakeJob(payload)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(JobFailure);
    expect(failure).toMatchObject({ code });
  });
});

test("a file is digested in pieces, whatever its length", async () => {
  fixture = await createFixture({ empty: "", long: "x".repeat(600_000), even: "x".repeat(262_144) });
  const signal = new AbortController().signal;
  const empty = await digestFile(join(fixture.root, "empty"), signal);
  const long = await digestFile(join(fixture.root, "long"), signal);
  expect(empty.bytes).toBe(0);
  expect(Buffer.from(empty.digest).toString("hex")).toMatch(/^cf83e1357eefb8bd/);
  expect(long.bytes).toBe(600_000);
  expect((await digestFile(join(fixture.root, "even"), signal)).bytes).toBe(262_144);
  expect(digestTree([], () => empty.digest)).toBe(Buffer.from(empty.digest).toString("hex"));
  await rm(join(fixture.root, "empty"));
  await expect(digestFile(join(fixture.root, "empty"), signal)).rejects.toThrow(/ENOENT/);
});
