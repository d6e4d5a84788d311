// Programs in Go that the benchmarks run: made once into .cache/bin, found there afterwards. Their versions are pinned
// here and in peers/river/go.mod.
import { execFile } from "node:child_process";
import { access, rename } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const repositoryRoot = fileURLToPath(new URL("../../", import.meta.url));

const binDir = join(repositoryRoot, ".cache", "bin");
const ghzVersion = "v0.121.0";
const buildMsMax = 600_000;
const suffix = process.platform === "win32" ? ".exe" : "";

export const ghzBinary = join(binDir, `ghz-${ghzVersion}${suffix}`);
export const riverBinary = join(binDir, `river-peer${suffix}`);

const run = promisify(execFile);

/** Go is not there, or what was asked of it failed; the message says what to do. */
export class GoError extends Error {
  override readonly name = "GoError";
}

export async function hasGo(): Promise<boolean> {
  return await run("go", ["version"]).then(
    () => true,
    () => false,
  );
}

/**
 * Sees that ghz is in its place.
 *
 * @throws GoError when it is not there and cannot be made
 */
export async function ensureGhz(log: (line: string) => void): Promise<void> {
  if (await exists(ghzBinary)) return;
  const module = `github.com/bojand/ghz/cmd/ghz@${ghzVersion}`;
  if (!(await hasGo()))
    throw new GoError(
      `ghz ${ghzVersion} is not installed, and there is no Go to install it with. Install Go 1.22 or newer and run this again, or put a ghz of that version at ${ghzBinary}.`,
    );
  log(`installing ghz ${ghzVersion} (go install), once`);
  await go(["install", module], repositoryRoot);
  await rename(join(binDir, `ghz${suffix}`), ghzBinary);
}

/**
 * Builds River's program; quick when nothing changed.
 *
 * @throws GoError when it cannot be built
 */
export async function buildRiver(log: (line: string) => void): Promise<void> {
  if (!(await exists(riverBinary))) log("building River's program (go build), once");
  await go(["build", "-o", riverBinary, "."], join(repositoryRoot, "loadtest", "peers", "river"));
}

async function go(args: readonly string[], cwd: string): Promise<void> {
  try {
    await run("go", [...args], {
      cwd,
      env: { ...process.env, GOBIN: binDir },
      timeout: buildMsMax,
      maxBuffer: 16 << 20,
    });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    const why = (stderr ?? String(error)).trim().split("\n").slice(-10).join("\n");
    throw new GoError(
      `go ${args.join(" ")} failed. See that this machine reaches the Go module proxy ('go env GOPROXY') and that Go is new enough.\n${why}`,
      { cause: error },
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
