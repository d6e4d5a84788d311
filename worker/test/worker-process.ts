import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { until } from "./scripted-hub.js";

const fixture = fileURLToPath(new URL("./fixtures/worker-process.mjs", import.meta.url));

/** A worker in a process of its own; killed with the test. */
export class WorkerProcess {
  readonly lines: string[] = [];
  stderr = "";
  exit: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  readonly #child: ChildProcess;

  constructor(options: Record<string, unknown>) {
    this.#child = spawn(process.execPath, [fixture, JSON.stringify({ name: "child", ...options })], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let rest = "";
    this.#child.stdout?.on("data", (chunk) => {
      const lines = `${rest}${chunk}`.split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
    });
    this.#child.stderr?.on("data", (chunk) => {
      this.stderr += chunk;
    });
    this.#child.on("exit", (code, signal) => {
      this.exit = { code, signal };
    });
    onTestFinished(() => {
      this.#child.kill("SIGKILL");
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async said(line: string): Promise<void> {
    await until(() => this.lines.some((said) => said.startsWith(line)), `"${line}" (stderr: ${this.stderr})`);
  }

  async exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    await until(() => this.exit !== undefined, "the end of the process");
    return this.exit as { code: number | null; signal: NodeJS.Signals | null };
  }
}
