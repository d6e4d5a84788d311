/**
 * Completes package-lock.json with the packages of other platforms (biome for macOS, and so on).
 *
 * npm leaves out what the registry it is pointed at does not offer, a mirror for one platform for instance, and then
 * `npm ci` refuses the lock file everywhere. Run this after an `npm install` that dropped some; a test says when.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root, say } from "./bootstrap.mjs";

const lockFile = join(root, "package-lock.json");

/** How package names spell the operating systems and processors of `os` and `cpu` in package.json. */
const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "sunos", "win32"];
const processors = {
  arm64: "arm64",
  aarch64: "arm64",
  armv7: "arm",
  "arm-gnueabihf": "arm",
  x64: "x64",
  ia32: "ia32",
  ppc64: "ppc64",
  riscv64: "riscv64",
  s390x: "s390x",
};

/** Optional dependencies, pinned to one version, that the lock file has no entry for. */
export function missingPlatforms(packages) {
  const missing = [];
  for (const [place, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const isPinned = /^\d/.test(version);
      if (isPinned && !isResolved(packages, place, name)) missing.push({ name, version, dependent: entry });
    }
  }
  return missing;
}

export async function readLockPackages() {
  return JSON.parse(await readFile(lockFile, "utf8")).packages;
}

/** npm looks in the dependent's own node_modules, then in those of each package around it. */
function isResolved(packages, place, name) {
  const steps = place.split("/node_modules/");
  for (let depth = steps.length; depth >= 0; depth -= 1) {
    const folder = steps.slice(0, depth).join("/node_modules/");
    if (packages[`${folder === "" ? "" : `${folder}/`}node_modules/${name}`]) return true;
  }
  return false;
}

function entryFor({ name, version, dependent }) {
  const os = systems.find((system) => name.includes(`-${system}`));
  const cpu = Object.keys(processors).find((spelling) => name.includes(`-${spelling}`));
  if (!os || !cpu)
    throw new Error(`cannot tell the platform of ${name}: add it to package-lock.json by hand`);
  const libc = name.endsWith("-musl")
    ? "musl"
    : os === "linux" && name.includes("-gnu")
      ? "glibc"
      : undefined;
  return {
    version,
    cpu: [processors[cpu]],
    ...(dependent.dev && { dev: true }),
    ...(libc && { libc: [libc] }),
    optional: true,
    os: [os],
  };
}

async function completeLock() {
  const lock = JSON.parse(await readFile(lockFile, "utf8"));
  const missing = missingPlatforms(lock.packages);
  for (const found of missing) lock.packages[`node_modules/${found.name}`] = entryFor(found);
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en"));
  lock.packages = Object.fromEntries(sorted);
  await writeFile(lockFile, `${JSON.stringify(lock, null, 2)}\n`);
  say(`package-lock.json: ${missing.length} packages of other platforms added`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await completeLock();
