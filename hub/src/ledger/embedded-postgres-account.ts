import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";

/** The user that PostgreSQL runs as. It refuses to run as root. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/**
 * Undefined when this process is not root: PostgreSQL then runs as the same user. Otherwise whoever owns the
 * cluster already (a directory shared with a container, say), else `postgres`, else `nobody`.
 */
export async function chooseAccount(clusterDir: string): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(clusterDir).catch(() => undefined);
  if (owner && owner.uid !== 0) return { name: `uid ${owner.uid}`, uid: owner.uid, gid: owner.gid };
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  for (const wanted of ["postgres", "nobody"]) {
    for (const line of passwd.split("\n")) {
      const [name, , uid, gid] = line.split(":");
      if (name === wanted) return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  throw new EmbeddedPostgresError(
    "PostgreSQL does not run as root, and this system has neither a user postgres nor nobody. " +
      "Run as another user, or use a PostgreSQL of your own: HOLDFAST_DATABASE_URL.",
  );
}

/** Whether the account may enter every directory on the way to `directory`, which need not exist yet. */
export async function isReachable(directory: string, account: Account | undefined): Promise<boolean> {
  if (!account) return true;
  for (let at = directory; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined);
    if (found) {
      const shift = found.uid === account.uid ? 6 : found.gid === account.gid ? 3 : 0;
      const mayEnter = ((found.mode >> shift) & 0o1) === 1;
      if (!mayEnter) return false;
    }
    if (at === dirname(at)) return true;
  }
}
