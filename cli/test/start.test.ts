import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { startFakeHub } from "./fake-hub.js";
import { type HoldfastProcess, processesOf, spawnHoldfast, until } from "./holdfast-process.js";
import { createFixture, type Fixture, npmSbom } from "./package-fixture.js";
import { run } from "./run-cli.js";

const FREE_PORTS = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];

let project: Fixture;
let place = "";
let started: HoldfastProcess | undefined;

beforeAll(async () => {
  project = await createFixture({
    "package.json": { name: "project", version: "1.0.0", dependencies: { a: "1.0.0", "@s/b": "2.0.0" } },
    "node_modules/a/package.json": {
      name: "a",
      version: "1.0.0",
      license: "MIT",
      dependencies: { c: "1.0.0" },
    },
    "node_modules/a/index.js": "exports.a = 1;",
    "node_modules/@s/b/package.json": { name: "@s/b", version: "2.0.0", license: "ISC" },
    "node_modules/a/node_modules/c/package.json": { name: "c", version: "1.0.0" },
    "node_modules/a/node_modules/c/LICENSE": "free",
  });
  place = await mkdtemp(join(tmpdir(), "holdfast-start-"));
});
afterEach(async () => {
  started?.child.kill("SIGKILL");
  started = undefined;
  // Every test ends its processes itself; this waits for those of one that failed.
  await until(async () => (await processesOf(place)).size === 0);
}, 90_000);
afterAll(async () => {
  await project.remove();
  await rm(place, { recursive: true, force: true });
});

/** Every run of this file uses the same data directory, as every run of a project does. */
function start(...args: string[]): HoldfastProcess {
  started = spawnHoldfast(
    ["start", project.root, "--data-dir", join(place, ".holdfast"), ...FREE_PORTS, ...args],
    {
      cwd: place,
    },
  );
  return started;
}

const logOf = (name: string) => readFile(join(place, ".holdfast", "logs", `${name}.log`), "utf8");
const pidOf = async (part: string): Promise<number> => {
  const found = [...(await processesOf(place))].find(([, args]) => args.includes(part));
  expect(found, `a process with ${part}`).toBeDefined();
  return found?.[0] ?? 0;
};

describe("holdfast start", { timeout: 180_000 }, () => {
  test("--once scans every package, writes the bill of materials, and leaves nothing running", async () => {
    const first = start("--once", "--json");
    expect(await first.ended, first.stderr()).toBe(EXIT.ok);
    expect(first.stderr()).toBe("");
    const summary = JSON.parse(first.stdout());
    expect(summary).toMatchObject({ jobs: 3, sbom: { components: 3 } });
    expect(summary.jobsPerSecond).toBeGreaterThan(0);
    expect(summary.submitToStart.p50Ms).toBeGreaterThanOrEqual(0);
    expect(summary.submitToStart.p99Ms).toBeGreaterThanOrEqual(summary.submitToStart.p50Ms);
    expect(await processesOf(place)).toEqual(new Map());

    const bom = JSON.parse(await readFile(summary.sbom.path, "utf8"));
    const identities = (components: readonly { name: string; version: string }[]) =>
      components.map(({ name, version }) => `${name}@${version}`).sort();
    expect(identities(bom.components)).toEqual(identities(await npmSbom(project.root)));
    expect(
      bom.components.map((one: { hashes: { content: string }[] }) => one.hashes[0]?.content.length),
    ).toEqual([128, 128, 128]);
  });

  test("runs again on the same data, tells people what it did, and stays up until Ctrl-C", async () => {
    const again = start("--workers", "2", "--out", join(place, "again.json"));
    const [, , grpc, http] = await again.says(/(Hub at) (\S+) \(gRPC\) and (\S+), 2 workers attached/);
    expect(grpc).toMatch(/^127\.0\.0\.1:\d+$/);
    await again.says(/All stays up/);
    const text = again.stdout();
    expect(text).toMatch(/jobs +3 in .* jobs\/s/);
    expect(text).toMatch(/submit to start +p50 .* p99 /);
    expect(text).toMatch(/SBOM +.*again\.json, 3 components/);
    expect(again.stderr()).toMatch(/scanned 3\/3/);

    // What it tells people to try works.
    const commands = [...text.matchAll(/^ {2}npx holdfast (.*)$/gm)].map(([, line = ""]) => shellWords(line));
    expect(commands.length).toBeGreaterThanOrEqual(3);
    for (const args of commands) {
      expect(await run(args), args.join(" ")).toMatchObject({ exitCode: EXIT.ok });
    }
    const doctor = await run(["doctor", "--json", "--hub", http ?? "", "--grpc", grpc ?? ""]);
    expect(doctor.exitCode, doctor.stdout).toBe(EXIT.ok);

    again.child.kill("SIGINT");
    expect(await again.ended).toBe(EXIT.ok);
    expect(await processesOf(place)).toEqual(new Map());
    expect(await logOf("scan-1")).toMatch(/drained/);
    expect(await logOf("scan-2")).toMatch(/drained/);
    expect((await logOf("hub")).trimEnd()).toMatch(/stopped$/);
  });

  test("ends with 10 when a worker dies, says which, and leaves nothing running", async () => {
    const running = start("--workers", "2");
    await running.says(/All stays up/);
    process.kill(await pidOf("--name scan-2"), "SIGKILL");
    expect(await running.ended).toBe(EXIT.childFailed);
    expect(running.stderr()).toMatch(/CHILD_FAILED: scan-2 was ended by SIGKILL/);
    expect(running.stderr()).toMatch(/next: All of its log: .*scan-2\.log/);
    expect(await processesOf(place)).toEqual(new Map());
  });

  test("ends with 10 when the hub dies; the next start adopts what it left", async () => {
    const running = start("--workers", "1");
    await running.says(/All stays up/);
    process.kill(await pidOf(" hub "), "SIGKILL");
    expect(await running.ended).toBe(EXIT.childFailed);
    expect(running.stderr()).toMatch(/hub was ended by SIGKILL/);
    // PostgreSQL outlives a killed hub by design; a hub that starts takes it over, and stops it.
    expect(await start("--once", "--json").ended).toBe(EXIT.ok);
    expect(await processesOf(place)).toEqual(new Map());
  });

  test("takes its children with it when it is killed", async () => {
    const running = start("--workers", "2");
    await running.says(/All stays up/);
    expect((await processesOf(place)).size).toBeGreaterThan(3);
    running.child.kill("SIGKILL");
    await running.ended;
    await until(async () => (await processesOf(place)).size === 0);
    expect((await logOf("hub")).trimEnd()).toMatch(/stopped$/);
  });

  test("ends with 130 when it is interrupted before it is done", async () => {
    const running = start("--once");
    await running.says(/Starting PostgreSQL/);
    running.child.kill("SIGINT");
    expect(await running.ended).toBe(EXIT.interrupted);
    expect(await processesOf(place)).toEqual(new Map());
  });

  test("says which log it cannot write, and starts nothing", async () => {
    const dataDir = join(place, "taken");
    await mkdir(join(dataDir, "logs", "hub.log"), { recursive: true });
    const result = await run(["start", project.root, "--data-dir", dataDir, ...FREE_PORTS]);
    expect(result.exitCode).toBe(EXIT.refused);
    expect(result.stderr).toMatch(/CANNOT_OPEN: The log .*hub\.log cannot be written.*\n.*--data-dir/);
  });
});

describe("holdfast start where something listens already", () => {
  let server: Server | undefined;
  afterEach(
    () => new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve()))),
  );

  test("says that it is a hub, and what to do", async () => {
    const hub = await startFakeHub({ fleet: { getStatus: () => ({ hubVersion: "0.1.0" }) } });
    const listen = hub.url.replace("http://", "");
    const result = await run([
      "start",
      project.root,
      "--grpc-listen",
      "127.0.0.1:0",
      "--http-listen",
      listen,
    ]);
    await hub.stop();
    expect(result.exitCode).toBe(EXIT.refused);
    expect(result.stderr).toMatch(/HUB_RUNS_ALREADY: A Holdfast hub runs already at .*\n.*holdfast status/);
  });

  test("says that it is another program, and how to find it", async () => {
    const listening = createServer((socket) => socket.destroy());
    server = listening;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    const { port } = listening.address() as AddressInfo;
    const result = await run([
      "start",
      project.root,
      "--grpc-listen",
      `127.0.0.1:${port}`,
      "--http-listen",
      "127.0.0.1:0",
    ]);
    expect(result.exitCode).toBe(EXIT.refused);
    expect(result.stderr).toMatch(/PORT_TAKEN: Another program listens on/);
    expect(result.stderr).toContain(`lsof -i :${port}`);
  });
});

/** Splits a command line as a shell does, as far as single quotes. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}
