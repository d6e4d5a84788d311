import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { root, runNode } from "./bootstrap.mjs";
import { cruise } from "./checks.mjs";

const refused = [
  ["room-domain", "hub/src/domain", "../ledger/b.js"],
  ["room-ledger", "hub/src/ledger", "../services/b.js"],
  ["room-lanes", "hub/src/lanes", "../ledger/b.js"],
  ["room-bus", "hub/src/bus", "../lanes/b.js"],
  ["room-services", "hub/src/services", "../rpc/b.js"],
  ["room-rpc", "hub/src/rpc", "../ledger/b.js"],
  ["package-hub", "hub/src/services", "@holdfast/worker"],
  ["package-worker", "worker/src", "@holdfast/hub/main"],
  ["package-cli", "cli/src", "../../loadtest/src/b.js"],
  ["package-gen-ts", "gen/ts/src", "@holdfast/hub/main"],
  ["domain-is-pure", "hub/src/domain", "node:fs"],
  ["main-is-the-top", "hub/src/services", "../main.js"],
  ["main-is-the-top", "worker/src", "@holdfast/hub/main"],
  ["sql-in-the-ledger", "hub/src/services", "pg"],
  ["sql-in-the-ledger", "cli/src", "pg"],
  ["messages-stop-at-rpc", "hub/src/services", "@holdfast/gen/holdfast/v1/job_pb"],
  ["telemetry-by-its-api", "hub/src/rpc", "@opentelemetry/sdk-node"],
  ["packages-by-their-exports", "cli/src", "../../hub/src/ledger/b.js"],
  ["tests-are-leaves", "hub/src/domain", "./b.test.js"],
  ["dependencies-are-declared", "hub/src/ledger", "fast-check"],
  ["imports-resolve", "hub/src/ledger", "./absent.js"],
  ["no-circle", "hub/src/domain", "./circle.js"],
].map(([rule, room, imported], index) => ({ rule, file: `${room}/case-${index}.ts`, imported }));

const allowed = [
  { file: "hub/src/domain/allowed.ts", imported: "node:crypto" },
  { file: "hub/src/ledger/allowed.ts", imported: "pg" },
  { file: "hub/src/services/allowed.ts", imported: "../ledger/b.js" },
  { file: "hub/src/rpc/allowed.ts", imported: "@holdfast/gen/holdfast/v1/job_pb" },
  { file: "hub/src/main.ts", imported: "./rpc/b.js" },
  { file: "cli/src/allowed.ts", imported: "@holdfast/hub/main" },
];

/** Every import below is one of types only: those count like any other. */
describe("the boundaries", () => {
  let output;
  let ok;

  beforeAll(async () => {
    await withFolder(async (folder) => {
      for (const { file, imported } of [...allowed, ...refused]) {
        await write(folder, file, `import type { B } from "${imported}";\nexport type A = B;`);
      }
      for (const { file, imported } of [...refused, ...allowed]) {
        const isMeantToExist = imported.startsWith(".") && !["./absent.js", "../main.js"].includes(imported);
        if (isMeantToExist)
          await write(folder, join(dirname(file), imported.replace(".js", ".ts")), "export type B = 1;");
      }
      const circle = refused.find(({ rule }) => rule === "no-circle");
      await write(
        folder,
        join(dirname(circle.file), "circle.ts"),
        `import type { A } from "./${basename(circle.file, ".ts")}.js";\nexport type B = A;`,
      );
      await writeWorkspaces(folder);
      ({ ok, output } = await cruise(folder));
    });
  });

  it.each(refused)("refuse $file the import of $imported ($rule)", ({ rule, file }) => {
    expect(output).toContain(`error ${rule}: ${file} `);
    expect(ok).toBe(false);
  });

  it.each(allowed)("let $file import $imported", ({ file }) => {
    expect(output).not.toContain(`: ${file} `);
  });
});

describe("the lint of domain/", () => {
  it.each([
    ["the clock", "export const a = Date.now();"],
    ["today", "export const a = new Date();"],
    ["the stopwatch", "export const a = performance.now();"],
    ["chance", "export const a = Math.random();"],
    ["chance by another name", "const { random } = Math;\nexport const a = random();"],
    ["a timer", "export const a = setTimeout(() => {}, 1);"],
    ["a timer through globalThis", "export const a = globalThis.setInterval;"],
    ["random ids", 'import { randomUUID } from "node:crypto";\nexport const a = randomUUID();'],
    ["the environment", "export const a = process.env;"],
  ])("refuses %s", async (_what, source) => {
    const { ok, output } = await lintInDomain(source);

    expect(output).toMatch(/lint\/\w+\/no\w*Restricted/);
    expect(ok).toBe(false);
  });

  it("lets a rule hash", async () => {
    const { output } = await lintInDomain(
      'import { createHash } from "node:crypto";\nexport const a = createHash;',
    );

    expect(output).not.toContain("Restricted");
  });
});

async function lintInDomain(source) {
  return await withFolder(async (folder) => {
    await cp(join(root, "biome.json"), join(folder, "biome.json"));
    await write(folder, "hub/src/domain/a.ts", source);
    return await runNode("node_modules/@biomejs/biome/bin/biome", ["lint", "hub"], { cwd: folder });
  });
}

/** The workspaces and packages that the cases import, as npm would lay them out after a build. */
async function writeWorkspaces(folder) {
  const packages = [
    ["gen/ts", "@holdfast/gen", { "./*": "./dist/*.js" }, "dist/holdfast/v1/job_pb.js"],
    ["hub", "@holdfast/hub", { "./main": "./dist/main.js" }, "dist/main.js"],
    ["worker", "@holdfast/worker", { ".": "./dist/index.js" }, "dist/index.js"],
    ["cli", "holdfast", {}, "dist/main.js"],
    ["node_modules/pg", "pg", { ".": "./index.js" }, "index.js"],
    ["node_modules/fast-check", "fast-check", { ".": "./index.js" }, "index.js"],
    ["node_modules/@opentelemetry/sdk-node", "@opentelemetry/sdk-node", { ".": "./index.js" }, "index.js"],
  ];
  const dependencies = { pg: "*", "@holdfast/gen": "*", "@holdfast/hub": "*", "@holdfast/worker": "*" };
  for (const [place, name, exports, file] of packages) {
    await write(folder, join(place, "package.json"), JSON.stringify({ name, exports, dependencies }));
    await write(folder, join(place, file), "export {};");
    if (!name.startsWith("@holdfast/")) continue;
    await mkdir(join(folder, "node_modules/@holdfast"), { recursive: true });
    await symlink(join(folder, place), join(folder, "node_modules", name));
  }
}

async function withFolder(act) {
  const folder = await mkdtemp(join(await realpath(tmpdir()), "holdfast-checks-"));
  try {
    return await act(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function write(folder, path, text) {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}
