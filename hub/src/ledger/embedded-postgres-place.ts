import { createHash } from "node:crypto";
import { chmod, mkdir, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type Account, chooseAccount, isReachable } from "./embedded-postgres-account.js";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";

/** Where root keeps what the account could not reach where it was wanted. */
export const reachableRoot = "/var/lib/holdfast";

/** A directory of ours with the cluster in `cluster/` and, beside it, what is remembered about it. */
export interface Place {
  home: string;
  clusterDir: string;
  passwordFile: string;
  portFile: string;
  logFile: string;
  account: Account | undefined;
}

/**
 * Settles where the cluster of `dataDir` lives and who runs it. A repository in /root, for one, is closed to the
 * account that PostgreSQL runs as; its cluster then goes to `/var/lib/holdfast/<hash of the wanted path>`.
 */
export async function settlePlace(dataDir: string, log: (line: string) => void): Promise<Place> {
  const wanted = join(await realpathOfExisting(resolve(dataDir)), "postgres");
  const account = await chooseAccount(join(wanted, "cluster"));
  if (await isReachable(wanted, account)) {
    await makeDirectory(wanted);
    return placeAt(wanted, account);
  }
  const hash = createHash("sha256").update(wanted).digest("hex").slice(0, 16);
  const home = join(reachableRoot, hash);
  const owner = await chooseAccount(join(home, "cluster"));
  await makeDirectory(home);
  log(`PostgreSQL runs as ${owner?.name}, who cannot enter ${wanted}: its files are in ${home}`);
  return placeAt(home, owner);
}

function placeAt(home: string, account: Account | undefined): Place {
  const clusterDir = join(home, "cluster");
  return {
    home,
    clusterDir,
    passwordFile: join(home, "password"),
    portFile: join(home, "port"),
    logFile: join(clusterDir, "server.log"),
    account,
  };
}

/** Every directory that this creates can be entered by all, whatever the umask; what is in them has its own mode. */
export async function makeDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true }).catch((cause: Error) => {
    throw new EmbeddedPostgresError(
      `${directory} cannot be created (${cause.message}): choose another data directory with HOLDFAST_DATA_DIR.`,
      { cause },
    );
  });
  if (first === undefined) return;
  for (let at = directory; ; at = dirname(at)) {
    await chmod(at, 0o755);
    if (at === first) return;
  }
}

async function realpathOfExisting(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(await realpathOfExisting(parent), basename(path));
  }
}
