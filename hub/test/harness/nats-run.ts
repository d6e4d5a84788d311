import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Begins the name of every folder of NATS servers in the folder of a run. */
export const natsPrefix = "nats-";

/** Kills the NATS servers that tests of a run left; the folder is the caller's to remove. */
export function endNatsServersOf(runFolder: string): void {
  const pidFiles = readdirSync(runFolder, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.startsWith(natsPrefix) && path.endsWith("nats-server.pid"),
  );
  for (const path of pidFiles) {
    const pid = Number.parseInt(readFileSync(join(runFolder, path), "utf8"), 10);
    if (commandOf(pid).includes(runFolder)) process.kill(pid, "SIGKILL");
  }
}

/** Empty when there is no such process: a pid file may outlive its server, and the number be somebody else's. */
function commandOf(pid: number): string {
  try {
    return execFileSync("ps", ["-p", String(pid), "-o", "command="], { encoding: "utf8" });
  } catch {
    return "";
  }
}
