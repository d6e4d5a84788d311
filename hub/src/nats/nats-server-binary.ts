/**
 * A nats-server to run: the one on PATH, one that was installed before, or one that is installed now.
 *
 * What must hold:
 * - the binary in the cache is whole or absent: it is made elsewhere and renamed;
 * - of any number of processes that miss it at once, one installs and the others wait for it;
 * - nothing outside the cache changes: the Debian package is unpacked, never installed, so no service is started.
 */
import { execFile } from "node:child_process";
import {
  access,
  constants,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { NatsServerError } from "./nats-server-error.js";

const run = promisify(execFile);

/** The version that is installed, and the oldest that is used when it is there already. */
const pinnedVersion = "2.15.2";
const oldestVersion = [2, 10] as const;
const installTimeoutMs = 600_000;
const program = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/**
 * The path of a nats-server of version 2.10 or newer.
 *
 * @throws NatsServerError that says what to do when there is none and none can be installed
 */
export async function findNatsServer(log: (line: string) => void = () => undefined): Promise<string> {
  const cache = await cacheFolder();
  const there = await findInstalled(cache);
  if (there) return there;
  await mkdir(cache, { recursive: true });
  const unlock = await lockCache(cache);
  try {
    return (await findInstalled(cache)) ?? (await install(cache, log));
  } finally {
    await unlock();
  }
}

async function findInstalled(cache: string): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? "").split(delimiter), cache];
  for (const folder of folders.filter((one) => one !== "")) {
    const path = join(folder, program);
    if (await isUsable(path)) return path;
  }
  return undefined;
}

async function isUsable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return isNewEnough((await run(path, ["--version"])).stdout);
  } catch {
    return false;
  }
}

/** Of text such as `nats-server: v2.15.2`. */
export function isNewEnough(text: string): boolean {
  const [, major, minor] = /v?(\d+)\.(\d+)\./.exec(text) ?? [];
  const [wantedMajor, wantedMinor] = oldestVersion;
  return Number(major) > wantedMajor || (Number(major) === wantedMajor && Number(minor) >= wantedMinor);
}

async function install(cache: string, log: (line: string) => void): Promise<string> {
  const failures: string[] = [];
  const ways = [
    ["go install", buildWithGo],
    ["the Debian package", unpackDebianPackage],
  ] as const;
  for (const [name, make] of ways) {
    const folder = await mkdtemp(join(cache, "installing-"));
    try {
      log(`installing nats-server into ${cache} (${name})`);
      const made = await make(folder);
      if (!(await isUsable(made))) throw new Error(`it is older than ${oldestVersion.join(".")}`);
      const path = join(cache, program);
      await rename(made, path);
      return path;
    } catch (error) {
      failures.push(`${name}: ${whyFailed(error)}`);
    } finally {
      // Go leaves its module cache read-only, but that one is not in here.
      await rm(folder, { recursive: true, force: true });
    }
  }
  throw new NatsServerError(
    `nats-server is needed and could not be installed (${failures.join("; ")}). ` +
      `Put nats-server ${oldestVersion.join(".")} or newer on PATH (https://github.com/nats-io/nats-server/releases), ` +
      "or install Go and try again.",
  );
}

async function buildWithGo(folder: string): Promise<string> {
  await run("go", ["install", `github.com/nats-io/nats-server/v2@v${pinnedVersion}`], {
    env: { ...process.env, GOBIN: folder, CGO_ENABLED: "0" },
    timeout: installTimeoutMs,
  });
  return join(folder, program);
}

async function unpackDebianPackage(folder: string): Promise<string> {
  const options = { cwd: folder, timeout: installTimeoutMs };
  await run("apt-get", ["download", "nats-server"], options).catch(async (error: unknown) => {
    // The lists of packages may be missing, as in a fresh container; only root may fetch them.
    if (process.getuid?.() !== 0) throw error;
    await run("apt-get", ["update"], options);
    await run("apt-get", ["download", "nats-server"], options);
  });
  const archive = (await readdir(folder)).find((name) => name.endsWith(".deb"));
  if (archive === undefined) throw new Error("apt-get downloaded nothing");
  await run("dpkg-deb", ["--extract", archive, "."], options);
  for (const place of ["usr/sbin", "usr/bin"]) {
    const path = join(folder, place, program);
    if (await exists(path)) return path;
  }
  throw new Error("the package holds no nats-server");
}

function whyFailed(error: unknown): string {
  const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
  if (code === "ENOENT") return "not available here";
  return (stderr?.trim().split("\n").at(-1) || message).slice(0, 300);
}

/** `.cache/bin` of the checkout that this file belongs to or, outside one, of the working directory. */
async function cacheFolder(): Promise<string> {
  const checkout = fileURLToPath(new URL("../../../", import.meta.url));
  const root = (await exists(join(checkout, "package-lock.json"))) ? checkout : process.cwd();
  return join(root, ".cache", "bin");
}

/** A lock file names its owner; that of a process that is gone is removed. Two owners would do no harm, only twice the work. */
async function lockCache(cache: string): Promise<() => Promise<void>> {
  const path = join(cache, "nats-server.lock");
  const deadline = performance.now() + 2 * installTimeoutMs;
  while (performance.now() < deadline) {
    try {
      await writeFile(path, String(process.pid), { flag: "wx" });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    if (owner > 0 && !isRunning(owner)) await rm(path, { force: true });
    await delay(100);
  }
  throw new NatsServerError(`${path} is held by another process for too long: remove it and try again.`);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
