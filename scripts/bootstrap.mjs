/**
 * Brings a checkout to the point where its programs run: the right Node, the dependencies of the lock file, a build of
 * the present sources. Needs nothing installed, says what it does on stderr, and is quiet when there is nothing to do.
 */
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "./checkout-lock.mjs";

export const root = fileURLToPath(new URL("../", import.meta.url));

const nodeMinimum = [20, 19];
const quietMs = 1_500;
const outputCharsMax = 200_000;

/** What to do about the error codes of npm that a newcomer meets. */
const remedies = [
  [
    [
      "ENOTFOUND",
      "EAI_AGAIN",
      "ECONNREFUSED",
      "ECONNRESET",
      "ETIMEDOUT",
      "ENETUNREACH",
      "E404",
      "E403",
      "E503",
    ],
    "The npm registry did not answer as it should. See that this machine reaches the address that 'npm config get registry' shows, then run this again.",
  ],
  [["ENOSPC"], "The disk is full: about 500 MB are needed. Make room, then run this again."],
  [
    ["EACCES", "EPERM", "EROFS"],
    "This user may not write here. Use a checkout of your own, then run this again.",
  ],
  [
    ["EUSAGE"],
    "package-lock.json does not match the package.json files: 'npm install' brings them together.",
  ],
  [
    ["EINTEGRITY"],
    "A package is not what the lock file says: 'npm cache clean --force', then run this again.",
  ],
];

export async function bootstrap() {
  checkNode();
  await alone(async () => {
    await installDependencies();
    const outcome = await build();
    if (!outcome.ok) throw new Foreseen(`the build failed (tsc -b).\n${outcome.output}`);
  });
}

export async function bootstrapDependencies() {
  checkNode();
  await alone(installDependencies);
}

/** Two of these scripts may be started in one checkout, `npm start` here and `npm test` there. */
async function alone(act) {
  await withLock(
    join(root, ".cache/bootstrap.lock"),
    (pid) => say(`process ${pid} installs or builds here; waiting for it`),
    act,
  );
}

/** Incremental, and quick when nothing changed. */
export async function build() {
  return await runNode("node_modules/typescript/bin/tsc", ["-b"], { what: "building (tsc -b)" });
}

/** For entry scripts: a failure that was foreseen ends with its message, without a stack. */
export async function runScript(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Foreseen)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

export class Foreseen extends Error {}

/** Runs a program to its end with its output kept; `say`s `what` when it takes long enough to wonder about. */
export async function run(command, args, { what, env = process.env, cwd = root } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const notice = what && setTimeout(() => say(what), quietMs);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      output = (output + text).slice(-outputCharsMax);
    });
  }
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ ok: code === 0, code, signal, output: output.trim() }));
    });
  } finally {
    clearTimeout(notice);
  }
}

/** Runs the bin of an installed package with this very Node, so that no PATH and no shell is involved. */
export async function runNode(script, args, options) {
  return await run(process.execPath, [join(root, script), ...args], options);
}

export function say(line) {
  process.stderr.write(`holdfast: ${line}\n`);
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [wantedMajor, wantedMinor] = nodeMinimum;
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new Foreseen(
    `this is Node ${process.versions.node}; Holdfast needs ${nodeMinimum.join(".")} or newer, from https://nodejs.org or a version manager.`,
  );
}

async function installDependencies() {
  // npm writes its own lock file last, so an interrupted installation counts as none.
  const installed = changedAt("node_modules/.package-lock.json");
  if (installed !== undefined && installed >= changedAt("package-lock.json")) return;
  say(
    installed === undefined
      ? "installing dependencies (npm ci)"
      : "dependencies changed, installing (npm ci)",
  );
  const npm = process.env.npm_execpath;
  const args = ["ci", "--include=dev", "--include=optional"];
  const onWindows = process.platform === "win32";
  const outcome = npm?.endsWith("npm-cli.js")
    ? await run(process.execPath, [npm, ...args])
    : await run(onWindows ? "npm.cmd" : "npm", args);
  if (!outcome.ok) throw new Foreseen(`npm ci failed.\n${outcome.output}\n${remedyOf(outcome.output)}`);
}

function remedyOf(output) {
  const code = /npm (?:error|ERR!) code (\w+)/.exec(output)?.[1];
  const known = remedies.find(([codes]) => codes.includes(code));
  return known ? known[1] : "The lines above say why; npm's own log is named there.";
}

function changedAt(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs;
}
