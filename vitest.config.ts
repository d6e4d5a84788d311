import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{hub,worker,cli,loadtest}/{src,test}/**/*.test.ts", "scripts/**/*.test.mjs"],
    globalSetup: ["hub/test/harness/postgres-run.ts"],
    // Fault tests kill processes and block event loops: a process for each file, and no more than a small machine has cores.
    pool: "forks",
    maxWorkers: 2,
    // Waits end with their condition; these bounds only have to hold on a machine that is shared and slow.
    testTimeout: 60_000,
    hookTimeout: 90_000,
    teardownTimeout: 20_000,
    slowTestThreshold: 5_000,
  },
});
