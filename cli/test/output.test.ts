import { afterEach, describe, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type FakeHub, jobNotFound, startFakeHub } from "./fake-hub.js";
import { run } from "./run-cli.js";

let hub: FakeHub | undefined;
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
});

const COMMANDS = [
  "start",
  "hub",
  "worker",
  "submit",
  "get",
  "list",
  "watch",
  "cancel",
  "retry",
  "replay",
  "dag",
  "keys",
  "status",
  "sessions",
  "retention",
  "doctor",
  "exit-codes",
] as const;

describe("--help", () => {
  test("of the whole lists every command, the environment and where the exit codes are", async () => {
    const { exitCode, stdout, stderr } = await run(["--help"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: EXIT.ok, stderr: "" });
    for (const command of COMMANDS) {
      expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
    }
    expect(stdout).toMatch(/HOLDFAST_HUB, HOLDFAST_API_KEY and HOLDFAST_CA/);
    expect(stdout).toContain("holdfast help exit-codes");
  });

  test.each(COMMANDS.filter((command) => command !== "exit-codes" && command !== "worker"))(
    "of %s shows examples of it",
    async (command) => {
      const { exitCode, stdout } = await run(["help", command]);
      expect(exitCode).toBe(EXIT.ok);
      expect(stdout).toMatch(new RegExp(`Examples:\\n(.*\\n)*  \\$ holdfast ${command}`));
      expect(stdout).toContain("--json");
    },
  );

  test("of worker scan shows examples of it", async () => {
    expect((await run(["worker", "scan", "--help"])).stdout).toContain("$ holdfast worker scan");
  });

  test("of hub lists every option with its default and its variable", async () => {
    const { stdout } = await run(["hub", "--help"]);
    expect(stdout).toMatch(/--session-ttl-ms <ms> [^(]*\(default: 30000, env:\s+HOLDFAST_SESSION_TTL_MS\)/);
    expect(stdout).toMatch(/--database-url <text>/);
  });

  test.each([["--help"], ["worker", "scan", "--help"], ...COMMANDS.map((command) => ["help", command])])(
    "no line of %s %s is wider than 110 characters",
    async (...args) => {
      const { stdout } = await run(args);
      expect(stdout.split("\n").filter((line) => line.length > 110)).toEqual([]);
    },
  );
});

test("--version says the version of the package", async () => {
  expect(await run(["--version"])).toMatchObject({
    exitCode: EXIT.ok,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  });
});

describe("colours", () => {
  const withJob = async () => {
    hub = await startFakeHub({
      jobs: {
        get: () => {
          throw jobNotFound();
        },
        list: () => ({ jobs: [{ id: "job-1", kind: "greet", state: 7 }] }),
      },
    });
    return hub.url;
  };
  const escapeCode = "\u001b[";

  test("are for terminals only", async () => {
    const url = await withJob();
    expect((await run(["list", "--hub", url], { isTty: true })).stdout).toContain(`${escapeCode}31mdead`);
    expect((await run(["list", "--hub", url])).stdout).not.toContain(escapeCode);
    expect((await run(["get", "x", "--hub", url], { isTty: true })).stderr).toContain(escapeCode);
    expect((await run(["get", "x", "--hub", url])).stderr).not.toContain(escapeCode);
  });

  test("are off with NO_COLOR and with --json", async () => {
    const url = await withJob();
    const noColour = await run(["list", "--hub", url], { isTty: true, env: { NO_COLOR: "1" } });
    const json = await run(["list", "--hub", url, "--json"], { isTty: true });
    const error = await run(["get", "x", "--hub", url, "--json"], { isTty: true });
    expect(noColour.stdout + json.stdout + error.stderr).not.toContain(escapeCode);
  });
});

test("with --json a command that fails leaves stdout empty and one JSON object on stderr", async () => {
  for (const args of [
    ["get", "x"],
    ["list"],
    ["status"],
    ["sessions"],
    ["keys", "list"],
    ["cancel", "x"],
    ["watch", "x"],
  ]) {
    const { exitCode, stdout, stderr } = await run([...args, "--json", "--hub", "http://127.0.0.1:1"]);
    expect({ exitCode, stdout }).toEqual({ exitCode: EXIT.unavailable, stdout: "" });
    expect(Object.keys(JSON.parse(stderr))).toEqual(["error"]);
  }
});
