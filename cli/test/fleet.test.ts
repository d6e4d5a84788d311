import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { type HoldfastProcess, processesOf, spawnHoldfast, until } from "./holdfast-process.js";
import { createFixture, type Fixture } from "./package-fixture.js";
import { run } from "./run-cli.js";

const FREE_PORTS = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];

let project: Fixture;
let place = "";
let started: HoldfastProcess | undefined;

beforeAll(async () => {
  project = await createFixture({
    "package.json": { name: "project", version: "1.0.0", dependencies: { a: "1.0.0" } },
    "node_modules/a/package.json": { name: "a", version: "1.0.0", license: "MIT" },
  });
  place = await mkdtemp(join(tmpdir(), "holdfast-fleet-"));
});
afterEach(async () => {
  started?.child.kill("SIGKILL");
  started = undefined;
  await until(async () => (await processesOf(place)).size === 0);
}, 90_000);
afterAll(async () => {
  await project.remove();
  await rm(place, { recursive: true, force: true });
});

function fleetUp(...args: string[]): HoldfastProcess {
  const sizes = ["--hubs", "2", "--workers", "2", "--nats-servers", "1"];
  const dataDir = ["--data-dir", join(place, ".holdfast")];
  started = spawnHoldfast(["fleet", "up", project.root, ...sizes, ...dataDir, ...FREE_PORTS, ...args], {
    cwd: place,
  });
  return started;
}

describe("holdfast fleet up", { timeout: 180_000 }, () => {
  test("--roll --once rolls every hub in the midst of the scans, ends well, and leaves nothing running", async () => {
    const fleet = fleetUp("--scans", "1000", "--roll", "--once", "--json");
    expect(await fleet.ended, fleet.stderr()).toBe(EXIT.ok);
    const said = fleet
      .stdout()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(said[0]).toMatchObject({ event: "up", hubs: [{ name: "hub-1" }, { name: "hub-2" }], workers: 2 });
    expect(said.flatMap(({ event, hub }) => (event === "rolled" ? [hub] : []))).toEqual(["hub-1", "hub-2"]);
    expect(said).toContainEqual(expect.objectContaining({ event: "scanned", jobs: 1_000 }));
    expect(said.at(-1)).toEqual({ event: "stopped" });
    expect(await processesOf(place)).toEqual(new Map());
  });

  test("tells people what runs where, rolls when asked to, and stops everything on Ctrl-C", async () => {
    const fleet = fleetUp();
    const [, url = ""] = await fleet.says(/hub-2 +\S+ +(http:\S+)/);
    await fleet.says(/All stays up/);
    expect(await run(["sessions", "--json", "--hub", url])).toMatchObject({ exitCode: EXIT.ok });
    fleet.child.stdin?.write("r\n");
    await fleet.says(/rolled hub-1 in/);
    await fleet.says(/rolled hub-2 in/);
    fleet.child.kill("SIGINT");
    expect(await fleet.ended).toBe(EXIT.ok);
    expect(await processesOf(place)).toEqual(new Map());
  });

  test("takes its children with it when it is killed, NATS too", async () => {
    const fleet = fleetUp();
    await fleet.says(/All stays up/);
    fleet.child.kill("SIGKILL");
    await fleet.ended;
    await until(async () => (await processesOf(place)).size === 0);
  });

  test("refuses a cluster that is none", async () => {
    const result = await run(["fleet", "up", project.root, "--nats-servers", "2"]);
    expect(result.exitCode).toBe(EXIT.usage);
    expect(result.stderr).toMatch(/2 NATS servers are no cluster/);
  });
});
