import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import {
  type ChildOutcome,
  createClient,
  JobFailure,
  type RunningWorker,
  startWorker,
} from "@holdfast/worker";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../src/connection.js";
import { addScans } from "../src/scan/add-scans.js";
import { composeScans } from "../src/scan/compose-scans.js";
import { findPackages, type PackageTree } from "../src/scan/find-packages.js";
import { ADD_SCANS_KIND, COMPOSE_KIND, SCAN_KIND, type ScanRequest } from "../src/scan/scan-job.js";
import { scanPackage } from "../src/scan/scan-package.js";
import { runScan } from "../src/start/scan-run.js";
import { type HoldfastProcess, spawnHoldfast } from "./holdfast-process.js";
import { createFixture, type Fixture, npmSbom } from "./package-fixture.js";

// A run of scans on a real hub, with a worker in this process.

let place = "";
let hub: HoldfastProcess;
let worker: RunningWorker;
let client: ReturnType<typeof createClient>;
let url = "";
let project: Fixture;
let tree: PackageTree;
let broken = "";

const sbomFile = () => join(place, "bill", "sbom.cdx.json");

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "holdfast-run-"));
  const names = ["a", "b", "c", "d", "e", "f", "g"];
  project = await createFixture({
    "package.json": { name: "project", version: "1.0.0" },
    ...Object.fromEntries(
      names.map((name) => [`node_modules/${name}/package.json`, { name, version: "1.0.0", license: "MIT" }]),
    ),
  });
  tree = await findPackages(project.root);
  hub = spawnHoldfast(
    [
      ...["hub", "--json", "--data-dir", join(place, ".holdfast")],
      ...["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"],
    ],
    { cwd: place },
  );
  const [, address = "", httpAddress = ""] = await hub.says(
    /"listening","grpcAddress":"([^"]+)","httpAddress":"([^"]+)"/,
  );
  url = `http://${httpAddress}`;
  client = createClient({ address });
  worker = startWorker({
    address,
    name: "scanner",
    journal: join(place, "journal"),
    handleSignals: false,
    log: () => {},
    handlers: {
      [SCAN_KIND]: (job) => {
        if (job.json<ScanRequest>().path !== broken) return scanPackage(job);
        throw new JobFailure("BROKEN", "it cannot be read", { permanent: true });
      },
      [ADD_SCANS_KIND]: (job) => addScans(job, client),
      [COMPOSE_KIND]: (job) => composeScans(job, client, sbomFile()),
    },
  });
}, 120_000);
afterAll(async () => {
  client?.close();
  await worker?.stop();
  hub?.child.kill("SIGTERM");
  await hub?.ended;
  await project?.remove();
  await rm(place, { recursive: true, force: true });
}, 60_000);

const options = (label: string) => ({
  connection: connect({ hubUrl: url, apiKey: undefined }),
  tree,
  label,
  signal: new AbortController().signal,
});

const names = (components: readonly { name: string; version: string }[]) =>
  components.map(({ name, version }) => `${name}@${version}`).sort();

describe("a run of scans", () => {
  test.each([
    ["in one call", 1_000],
    ["where most are added by a child", 3],
  ])("finds what npm sbom finds, submitted %s", async (label, childrenMax) => {
    const done: number[] = [];

    const run = await runScan({ ...options(label), childrenMax, onProgress: (scans) => done.push(scans) });

    expect(done).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(run.scans).toHaveLength(7);
    expect(run.scans.every(({ state }) => state === JobState.SUCCEEDED)).toBe(true);
    expect(run.sbom).toEqual({ path: sbomFile(), components: 7 });
    const bill = JSON.parse(await readFile(sbomFile(), "utf8"));
    expect(names(bill.components)).toEqual(names(await npmSbom(project.root)));
  });

  test("ends with the name of the scan that it failed of", async () => {
    broken = "node_modules/c";

    const run = runScan({ ...options("broken"), onProgress: () => {} });

    await expect(run).rejects.toMatchObject({
      reason: "SCAN_FAILED",
      message: expect.stringMatching(/The scan .* did not succeed: BROKEN: it cannot be read/),
    });
    broken = "";
  });
});

test("a bill is composed of the lease's outcomes where those are all, and else of the hub's", async () => {
  const [scan] = tree.packages;
  if (scan === undefined) throw new Error("There is no package.");
  const value = {
    result: Buffer.from(
      JSON.stringify({ path: scan.path, manifest: scan.manifest, digest: "ab".repeat(64) }),
    ),
    contentType: "application/json",
  };
  const child = {
    kind: SCAN_KIND,
    state: JobState.SUCCEEDED,
    outcome: { outcome: { case: "success", value } },
  };
  const outcomes = [child as unknown as ChildOutcome];
  const asked: string[] = [];
  const jobs = {
    async *children(jobId: string) {
      asked.push(jobId);
      yield* outcomes;
    },
  };
  const job = (total: number, listed: readonly ChildOutcome[]) => ({
    id: "parent",
    json: <T>() => ({ root: project.root }) as T,
    children: { total, outcomes: listed },
  });

  const whole = await composeScans(job(1, outcomes), jobs, join(place, "one.json"));
  const paged = await composeScans(job(1, []), jobs, join(place, "two.json"));

  expect([whole.components, paged.components]).toEqual([1, 1]);
  expect(asked).toEqual(["parent"]);
});
