// Loaded before a program that is being profiled. The SDK starts its session thread without the flags of the process,
// so the thread would be missing from the profiles: here it gets those that say where profiles go.
import { syncBuiltinESMExports } from "node:module";
import { execArgv } from "node:process";
import threads, { type WorkerOptions } from "node:worker_threads";

const profileFlags = execArgv.filter((flag) => flag.startsWith("--cpu-prof"));

threads.Worker = class extends threads.Worker {
  constructor(file: string | URL, options: WorkerOptions = {}) {
    super(file, { ...options, execArgv: profileFlags });
  }
};
syncBuiltinESMExports();
