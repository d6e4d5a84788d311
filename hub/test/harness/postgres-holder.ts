import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Another process that holds the embedded PostgreSQL of a data directory. */
export interface PostgresHolder {
  child: ChildProcess;
  pid: number;
  url: string;
  dataDir: string;
  lines: string[];
  /** Lets it stop in its own way; answers what it logged meanwhile. */
  letGo(): Promise<string[]>;
}

const script = fileURLToPath(new URL("hold-postgres.mjs", import.meta.url));

/** In a process group of its own, as a shell starts a command in a terminal. */
export async function startHolder(dataDir: string, program = script): Promise<PostgresHolder> {
  const child = spawn(process.execPath, [program, dataDir], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hear = async <T>() => {
    const { value, done } = await said.next();
    if (done) throw new Error(`${program} ended without a word`);
    return JSON.parse(value) as T;
  };
  const held = await hear<Omit<PostgresHolder, "child" | "letGo">>();
  return {
    ...held,
    child,
    async letGo() {
      const exited = once(child, "exit");
      child.stdin.end();
      const { lines } = await hear<{ lines: string[] }>();
      await exited;
      return lines;
    },
  };
}

export async function killHolder(holder: PostgresHolder, signal: NodeJS.Signals): Promise<void> {
  const exited = once(holder.child, "exit");
  process.kill(-(holder.child.pid as number), signal);
  await exited;
}
