import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Binaries } from "./embedded-postgres-binaries.js";
import { readPassword, type Settings, writeSettings } from "./embedded-postgres-cluster.js";
import { EmbeddedPostgresError } from "./embedded-postgres-error.js";
import { type Hold, takeHold } from "./embedded-postgres-hold.js";
import { findServer, removeMisleadingLockfile } from "./embedded-postgres-lockfile.js";
import type { Place } from "./embedded-postgres-place.js";
import { runBinary } from "./embedded-postgres-run.js";

/** Generous: a server that was killed replays up to max_wal_size before it answers. */
const startTimeoutSeconds = 300;
const fastStopTimeoutSeconds = 60;
const startAttemptsMax = 5;
const lookAgainMs = 50;
const sayWaitingAfterMs = 2_000;
const logTailLines = 15;
const logBytesMax = 10_000_000;

export interface ServerChoice {
  place: Place;
  binaries: Binaries;
  settings: Settings;
  /** Undefined: the port used last, or a free one. */
  port: number | undefined;
  log: (line: string) => void;
}

export interface HeldServer {
  hold: Hold;
  pid: number;
  port: number;
  origin: "started" | "adopted";
}

/**
 * Takes hold of the cluster's running server, or starts one.
 *
 *   look at postmaster.pid ─ a server answers ─► adopted
 *        ▲          └─ none, or a dead one's ─► pg_ctl start ─ ok ─► take hold ─► started
 *        └── someone else started or stops it, or the port was lost ◄──┘
 */
export async function startOrAdopt(choice: ServerChoice): Promise<HeldServer> {
  const { place } = choice;
  const password = await readPassword(place);
  const beganAt = performance.now();
  const deadline = beganAt + startTimeoutSeconds * 1_000;
  let failure = "";
  let failures = 0;
  let hasSaidWaiting = false;
  let origin: HeldServer["origin"] = "adopted";
  while (failures < startAttemptsMax && performance.now() < deadline) {
    const running = await findServer(place.clusterDir);
    if (running) {
      const hold = await takeHold(running.port, password, place.clusterDir);
      if (hold) {
        await writeFile(place.portFile, `${running.port}\n`);
        return { hold, ...running, origin };
      }
      failure = `the server with pid ${running.pid}, which has the directory, does not answer on port ${running.port}`;
      if (!hasSaidWaiting && performance.now() - beganAt > sayWaitingAfterMs) {
        hasSaidWaiting = true;
        choice.log(`PostgreSQL (pid ${running.pid}) is starting, recovering or stopping: waiting for it`);
      }
    } else {
      const outcome = await startServer(choice);
      if (outcome.state === "started") {
        origin = "started";
        continue;
      }
      failure = outcome.why;
      failures += 1;
    }
    // Growing, because what is left of a killed server keeps its shared memory until its last statement has ended.
    if (failures < startAttemptsMax) await sleep(lookAgainMs * 2 ** failures);
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL in ${place.clusterDir} did not start: ${failure}\n${await logTail(place)}`.trimEnd(),
  );
}

/** Ends the server in an orderly way; one that does not end in time is ended as if it had crashed, which loses nothing. */
export async function stopServer(place: Place, binaries: Binaries): Promise<void> {
  if (!(await findServer(place.clusterDir))) return;
  const stop = (mode: string) =>
    runBinary(
      binaries.pgCtl,
      [
        "stop",
        `--pgdata=${place.clusterDir}`,
        `--mode=${mode}`,
        "--wait",
        `--timeout=${fastStopTimeoutSeconds}`,
      ],
      place.account,
    );
  const { exitCode } = await stop("fast");
  if (exitCode === 0 || !(await findServer(place.clusterDir))) return;
  const { exitCode: forced, output } = await stop("immediate");
  if (forced !== 0 && (await findServer(place.clusterDir))) {
    throw new EmbeddedPostgresError(`PostgreSQL in ${place.clusterDir} did not stop: ${output}`);
  }
}

/** pg_ctl puts the server into a session of its own, so a Ctrl-C in the terminal reaches the hub and not the server. */
async function startServer(
  choice: ServerChoice,
): Promise<{ state: "started" } | { state: "failed"; why: string }> {
  const { place, binaries, settings } = choice;
  const port = await choosePort(choice);
  await writeSettings(place, port, settings);
  await rotateLog(place);
  await removeMisleadingLockfile(place.clusterDir);
  const { exitCode, output } = await runBinary(
    binaries.pgCtl,
    [
      "start",
      `--pgdata=${place.clusterDir}`,
      `--log=${place.logFile}`,
      "--wait",
      `--timeout=${startTimeoutSeconds}`,
    ],
    place.account,
  );
  return exitCode === 0 ? { state: "started" } : { state: "failed", why: output };
}

/** A port that was asked for is used whatever holds it, so that the server's own refusal is what the operator reads. */
async function choosePort({ place, port }: ServerChoice): Promise<number> {
  if (port !== undefined && port !== 0) return port;
  const last = Number(await readFile(place.portFile, "utf8").catch(() => "0"));
  return (await listenOnce(last)) ?? (await listenOnce(0)) ?? last;
}

async function listenOnce(port: number): Promise<number | undefined> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? address?.port : undefined));
    });
  });
}

/** The server appends to its log for as long as it runs; each start begins with room. */
async function rotateLog(place: Place): Promise<void> {
  const found = await stat(place.logFile).catch(() => undefined);
  if (found && found.size > logBytesMax) await rename(place.logFile, `${place.logFile}.previous`);
}

async function logTail(place: Place): Promise<string> {
  const text = await readFile(place.logFile, "utf8").catch(() => "");
  if (text === "") return "";
  const lines = text.trimEnd().split("\n").slice(-logTailLines);
  return `The last lines of ${place.logFile}:\n${lines.join("\n")}`;
}
