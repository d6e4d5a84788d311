/** What `npm test` asks of the tree before it runs it. Each check answers `{ ok, output }`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { build, root, runNode } from "./bootstrap.mjs";
import { findDrift } from "./generation.mjs";

/** What takes part in the rules of .dependency-cruiser.mjs, where it exists. */
const cruised = [
  "gen/ts/src",
  ...["hub", "worker", "cli", "loadtest"].flatMap((name) => [`${name}/src`, `${name}/test`]),
];

export const checks = [
  { title: "format and lint (biome)", check: lint },
  { title: "types of sources and tests (tsc)", check: checkTypes },
  { title: "proto style (buf lint)", check: () => runNode("node_modules/@bufbuild/buf/bin/buf", ["lint"]) },
  { title: "generated code is what proto/ generates", check: checkDrift },
  { title: "boundaries between rooms and packages", check: () => cruise(root) },
];

async function lint() {
  return await runNode("node_modules/@biomejs/biome/bin/biome", [
    "check",
    "--error-on-warnings",
    "--diagnostic-level=warn",
    "--colors=off",
    ".",
  ]);
}

async function checkTypes() {
  const sources = await build();
  if (!sources.ok) return sources;
  return await runNode("node_modules/typescript/bin/tsc", ["-p", "tsconfig.tests.json", "--noEmit"]);
}

async function checkDrift() {
  const drift = await findDrift();
  return { ok: drift.length === 0, output: `${drift.join("\n")}\nnpm run generate` };
}

/** Needs the build: packages import each other by what they export. */
export async function cruise(folder) {
  return await runNode(
    "node_modules/dependency-cruiser/bin/dependency-cruise.mjs",
    [
      "--config",
      join(root, ".dependency-cruiser.mjs"),
      "--output-type",
      "err-long",
      ...cruised.filter((path) => existsSync(join(folder, path))),
    ],
    { cwd: folder },
  );
}
