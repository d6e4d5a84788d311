import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{hub,worker,cli,loadtest}/{src,test}/**/*.test.ts", "scripts/**/*.test.mjs"],
    globalSetup: ["hub/test/harness/postgres-run.ts"],
    // Fault tests kill processes and block event loops: a process for each file, and no more than a small machine has cores.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    // Tests of real processes can be starved on a shared machine; the report names what passed only the second time.
    retry: process.env.CI ? 1 : 0,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    slowTestThreshold: 5_000,
  },
});
