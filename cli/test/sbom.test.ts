import { join, resolve } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { composeSbom } from "../src/scan/compose-sbom.js";
import { findPackages } from "../src/scan/find-packages.js";
import type { ScannedPackage } from "../src/scan/scan-job.js";
import { createFixture, type Fixture, npmSbom } from "./package-fixture.js";

const repository = resolve(import.meta.dirname, "../..");

let fixture: Fixture | undefined;
afterEach(async () => {
  await fixture?.remove();
  fixture = undefined;
});

interface BomComponent {
  readonly name: string;
  readonly version: string;
  readonly "bom-ref": string;
  readonly purl: string;
  readonly licenses?: readonly unknown[];
  readonly hashes?: readonly { alg: string; content: string }[];
  readonly properties?: readonly { name: string; value: string }[];
}

interface BomDocument {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly serialNumber: string;
  readonly metadata: { component: BomComponent; tools: { components: BomComponent[] }; timestamp: string };
  readonly components: readonly BomComponent[];
  readonly dependencies: readonly { ref: string; dependsOn?: readonly string[] }[];
}

/** The bill of a tree, as if every package had been scanned. */
async function bomOf(root: string): Promise<BomDocument> {
  const tree = await findPackages(root);
  const scanned = new Map(
    tree.packages.map(({ path, manifest }): [string, ScannedPackage] => [
      path,
      { path, manifest, licenceFile: "LICENSE", digest: "ab".repeat(64), files: 1, bytes: 1 },
    ]),
  );
  const { text } = composeSbom({ tree, scanned, toolVersion: "1.2.3", at: new Date(0) });
  return JSON.parse(text);
}

const names = (components: readonly { name: string; version: string }[]) =>
  components.map(({ name, version }) => `${name}@${version}`).sort();
const refs = (components: readonly { "bom-ref": string }[]) => components.map((one) => one["bom-ref"]).sort();

describe("the components are those of npm sbom, name by name and version by version", () => {
  test("for this repository", async () => {
    const ours = await bomOf(repository);
    const npm = await npmSbom(repository);
    expect(names(ours.components)).toEqual(names(npm));
    expect(refs(ours.components)).toEqual(refs(npm));
  });

  test("for nested, scoped, aliased, doubled, linked and dotted packages", async () => {
    fixture = await createFixture({
      "package.json": {
        name: "root",
        version: "1.0.0",
        workspaces: ["packages/*"],
        dependencies: { plain: "^1.0.0", "@scope/inner": "^2.0.0", alias: "npm:real@^3.0.0", real: "^3.0.0" },
      },
      "node_modules/plain/package.json": {
        name: "plain",
        version: "1.2.3",
        dependencies: { deep: "^1.0.0" },
      },
      "node_modules/plain/node_modules/deep/package.json": { name: "deep", version: "1.0.0" },
      "node_modules/deep/package.json": { name: "deep", version: "2.0.0" },
      "node_modules/@scope/inner/package.json": { name: "@scope/inner", version: "2.0.0" },
      "node_modules/@scope/inner/node_modules/deep/package.json": { name: "deep", version: "1.0.0" },
      "node_modules/alias/package.json": { name: "real", version: "3.0.0" },
      "node_modules/real/package.json": { name: "real", version: "3.0.0" },
      "node_modules/extraneous/package.json": { name: "extraneous", version: "0.0.1-beta.1+build.7" },
      "node_modules/extraneous/lib/node_modules/fake/package.json": { name: "fake", version: "9.9.9" },
      "node_modules/.bin/plain": "#!/bin/sh",
      "node_modules/.cache/hidden/package.json": { name: "hidden", version: "1.0.0" },
      "node_modules/@scope/.moved/package.json": { name: "@scope/moved", version: "1.0.0" },
      "packages/tool/package.json": {
        name: "@root/tool",
        version: "0.1.0",
        private: true,
        dependencies: { plain: "*" },
      },
      "packages/tool/node_modules/own/package.json": { name: "own", version: "4.0.0" },
      "node_modules/@root/tool": "-> packages/tool",
    });
    const ours = await bomOf(fixture.root);
    const npm = await npmSbom(fixture.root);
    expect(names(ours.components)).toEqual(names(npm));
    expect(refs(ours.components)).toEqual(refs(npm));
    expect(names(ours.components)).not.toContain("fake@9.9.9");
  });

  test("for a store of links, where dependencies lie beside what needs them", async () => {
    const store = "node_modules/.pnpm";
    fixture = await createFixture({
      "package.json": { name: "root", version: "1.0.0", dependencies: { a: "1.0.0" } },
      "node_modules/a": `-> ${store}/a@1.0.0/node_modules/a`,
      [`${store}/a@1.0.0/node_modules/a/package.json`]: {
        name: "a",
        version: "1.0.0",
        dependencies: { b: "1.0.0" },
      },
      [`${store}/a@1.0.0/node_modules/b`]: `-> ${store}/b@1.0.0/node_modules/b`,
      [`${store}/b@1.0.0/node_modules/b/package.json`]: { name: "b", version: "1.0.0" },
      [`${store}/c@1.0.0/node_modules/c/package.json`]: { name: "c", version: "1.0.0" },
    });
    const ours = await bomOf(fixture.root);
    expect(names(ours.components)).toEqual(["a@1.0.0", "b@1.0.0"]);
    expect(names(ours.components)).toEqual(names(await npmSbom(fixture.root)));
  });
});

describe("a bill of materials", () => {
  let bom: BomDocument;
  beforeAll(async () => {
    const tree = await createFixture({
      "package.json": {
        name: "@me/root",
        version: "1.0.0",
        license: "Apache-2.0",
        dependencies: { a: "1", b: "1" },
      },
      "node_modules/a/package.json": {
        name: "a",
        version: "1.0.0",
        license: "MIT",
        dependencies: { c: "1" },
      },
      "node_modules/a/node_modules/c/package.json": {
        name: "c",
        version: "1.0.0",
        license: "(MIT OR Apache-2.0)",
      },
      "node_modules/b/package.json": {
        name: "@s/b",
        version: "1.0.0+x",
        licenses: [{ type: "Do what you like" }],
        dependencies: { c: "1", absent: "1" },
        homepage: "not a url",
        repository: { type: "git", url: "git+https://example.com/b.git" },
      },
      "node_modules/c/package.json": { name: "c", version: "1.0.0" },
    });
    bom = await bomOf(tree.root);
    await tree.remove();
  });
  const component = (ref: string) => bom.components.find((one) => one["bom-ref"] === ref);

  test("says what it is, of what, when, and by which tool", () => {
    expect(bom).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6" });
    expect(bom.serialNumber).toMatch(/^urn:uuid:/);
    expect(bom.metadata.timestamp).toBe("1970-01-01T00:00:00.000Z");
    expect(bom.metadata.component).toMatchObject({ name: "@me/root", version: "1.0.0", type: "application" });
    expect(bom.metadata.component.licenses).toEqual([{ license: { id: "Apache-2.0" } }]);
    expect(bom.metadata.tools.components).toMatchObject([{ name: "holdfast", version: "1.2.3" }]);
  });

  test("lists a version once, with every path where it is installed", () => {
    expect(bom.components).toHaveLength(3);
    expect(component("c@1.0.0")?.properties).toEqual([
      { name: "cdx:npm:package:path", value: "node_modules/a/node_modules/c" },
      { name: "cdx:npm:package:path", value: "node_modules/c" },
    ]);
  });

  test("gives each component its purl, digest and licence", () => {
    expect(component("a@1.0.0")).toMatchObject({
      purl: "pkg:npm/a@1.0.0",
      hashes: [{ alg: "SHA-512", content: "ab".repeat(64) }],
      licenses: [{ license: { id: "MIT" } }],
    });
    expect(component("c@1.0.0")?.licenses).toEqual([{ expression: "(MIT OR Apache-2.0)" }]);
    expect(component("@s/b@1.0.0+x")).toMatchObject({
      name: "b",
      purl: "pkg:npm/%40s/b@1.0.0%2Bx",
      licenses: [{ license: { name: "Do what you like" } }],
      externalReferences: [{ type: "vcs", url: "git+https://example.com/b.git" }],
    });
  });

  test("says who depends on whom, as Node resolves it", () => {
    const edges = Object.fromEntries(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    expect(edges).toEqual({
      "@me/root@1.0.0": ["@s/b@1.0.0+x", "a@1.0.0"],
      "a@1.0.0": ["c@1.0.0"],
      "@s/b@1.0.0+x": ["c@1.0.0"],
      "c@1.0.0": undefined,
    });
  });
});

test("an entry of node_modules that is no package is named, not listed", async () => {
  fixture = await createFixture({
    "package.json": { name: "root", version: "1.0.0" },
    "node_modules/good/package.json": { name: "good", version: "1.0.0" },
    "node_modules/empty/readme.txt": "nothing",
    "node_modules/torn/package.json": '{"name":',
    "node_modules/unversioned/package.json": { name: "unversioned" },
    "node_modules/file.txt": "a file",
    "node_modules/broken": "-> nowhere",
  });
  const tree = await findPackages(fixture.root);
  expect(tree.packages.map(({ path }) => path)).toEqual(["node_modules/good"]);
  expect(tree.skipped).toEqual(
    ["empty", "file.txt", "torn", "unversioned"].map((name) => join("node_modules", name)),
  );
});
