import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import {
  bundleFormat,
  digestOfSeal,
  endLine,
  LinesDigest,
  operationLine,
  sealLine,
  startLine,
} from "@holdfast/hub/audit";
import { openAuditSigner } from "@holdfast/hub/audit-key";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { refusal, startFakeHub } from "./fake-hub.js";
import { spawnHoldfast, until } from "./holdfast-process.js";
import { jsonError, run } from "./run-cli.js";
import { withHub } from "./with-hub.js";

let folder = "";
const inFolder = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-audit-"));
  onTestFinished(() => rm(folder, { recursive: true }));
});

/** The lines of a bundle without seals. */
async function emptyBundle(first: number, head: string): Promise<string[]> {
  const signer = await openAuditSigner(inFolder("key.pem"));
  const place = { tenant: "default", first, last: first - 1 };
  const start = startLine({ bundle: bundleFormat, ...place });
  const end = { ...place, head, sha256: new LinesDigest().add(start).toString(), exportedAt: "now" };
  return [start, endLine(await signer.sign("holdfast-bundle", end))];
}

/** A bundle of one seal, which a key that `audit keygen` made signed; answers its lines. */
async function bundle(number = 1, previous = ""): Promise<string[]> {
  const signer = await openAuditSigner(inFolder("key.pem"));
  const operation = operationLine({
    operationId: "01980000-0000-7000-8000-000000000000",
    at: "2026-01-01T00:00:00.000001Z",
    subject: "ann",
    action: "pause.set",
    target: "queue:default/mail",
    reason: "down",
    ticket: "",
    before: null,
    after: "{}",
  });
  const seal = await signer.sign("holdfast-seal", {
    tenant: "default",
    number,
    previous,
    operations: { count: 1, sha256: new LinesDigest().add(operation).toString() },
    sealedAt: "2026-01-01T00:00:01.000000Z",
  });
  const place = { tenant: "default", first: number, last: number };
  const lines = [startLine({ bundle: bundleFormat, ...place }), sealLine(seal), operation];
  const sha256 = lines.reduce((digest, line) => digest.add(line), new LinesDigest()).toString();
  const end = { ...place, head: digestOfSeal(seal), sha256, exportedAt: "2026-01-01T00:00:02.000000Z" };
  return [...lines, endLine(await signer.sign("holdfast-bundle", end))];
}

const textOf = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");
const digestIn = (lines: readonly string[]) => digestOfSeal(JSON.parse(lines[1] ?? "").seal);

test("audit keygen makes a key that nobody else can read, and never over another", async () => {
  const made = await run(["audit", "keygen", inFolder("key.pem"), "--json"]);
  expect(made.exitCode).toBe(EXIT.ok);
  const { mode } = await stat(inFolder("key.pem"));
  expect(mode & 0o777).toBe(0o600);
  const key = await readFile(inFolder("key.pem"), "utf8");
  const again = await run(["audit", "keygen", inFolder("key.pem")]);
  expect(again.exitCode).toBe(EXIT.usage);
  expect(await readFile(inFolder("key.pem"), "utf8")).toBe(key);
  expect((await openAuditSigner(inFolder("key.pem"))).keyId).toBe(JSON.parse(made.stdout).keyId);
});

test("audit keygen never writes over a public key whose private one has moved on", async () => {
  await run(["audit", "keygen", inFolder("key.pem")]);
  const publicKey = await readFile(inFolder("key.pem.pub"), "utf8");
  await rename(inFolder("key.pem"), inFolder("elsewhere.pem"));
  const again = await run(["audit", "keygen", inFolder("key.pem")]);
  expect(again.exitCode).toBe(EXIT.usage);
  expect(await readFile(inFolder("key.pem.pub"), "utf8")).toBe(publicKey);
  await expect(stat(inFolder("key.pem"))).rejects.toThrow();
});

describe("with a key", () => {
  beforeEach(async () => {
    await run(["audit", "keygen", inFolder("key.pem")]);
  });
  const verify = (...args: string[]) =>
    run(["audit", "verify", ...args, "--key", inFolder("key.pem.pub"), "--json"]);

  test("audit export writes what the hub sends, whole or not at all", async () => {
    const lines = await bundle();
    const requests: unknown[] = [];
    const cli = await withHub({
      audit: {
        export: async function* (request) {
          requests.push(request);
          const bytes = Buffer.from(textOf(lines));
          yield { chunk: bytes.subarray(0, 100) };
          if (request.last === 9n) throw refusal(Code.Unavailable, "LEDGER_UNAVAILABLE", "gone");
          yield { chunk: bytes.subarray(100) };
        },
      },
    });
    const file = inFolder("audit.jsonl");
    const cut = await cli("audit", "export", file, "--last", "9");
    expect(cut.exitCode).toBe(EXIT.unavailable);
    await expect(stat(file)).rejects.toThrow();
    const done = await cli("audit", "export", file, "--first", "1", "--json");
    expect(done.exitCode, done.stderr).toBe(EXIT.ok);
    expect(requests).toMatchObject([{ last: 9n }, { first: 1n, last: 0n }]);
    expect(JSON.parse(done.stdout)).toMatchObject({ operations: 1, head: digestIn(lines) });
    expect(await readFile(file, "utf8")).toBe(textOf(lines));
    expect((await cli("audit", "export", file)).exitCode).toBe(EXIT.usage);
    expect((await verify(file)).exitCode).toBe(EXIT.ok);
  });

  test("audit export leaves nothing behind when it is interrupted", async () => {
    const [start = ""] = await bundle();
    let begun: () => void = () => undefined;
    const underWay = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const hub = await startFakeHub({
      audit: {
        export: async function* (_request, { signal }) {
          yield { chunk: Buffer.from(`${start}\n`) };
          begun();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
      },
    });
    onTestFinished(() => hub.stop());
    const exporting = spawnHoldfast(["audit", "export", inFolder("audit.jsonl"), "--hub", hub.url], {
      cwd: folder,
    });
    await underWay;
    await until(async () => (await readdir(folder)).some((name) => name.endsWith(".part")));
    exporting.child.kill("SIGINT");
    expect(await exporting.ended).toBe(EXIT.interrupted);
    expect((await readdir(folder)).sort()).toEqual(["key.pem", "key.pem.pub"]);
  });

  test("audit verify exits 12 for what was changed or cut off, and names the line", async () => {
    const lines = await bundle();
    for (const [text, line] of [
      [textOf(lines).replace("down", "calm"), "3"],
      [textOf(lines.slice(0, -1)), "4"],
      [textOf(lines).slice(0, -1), "4"],
      ["", "1"],
      [textOf(["[1]", ...lines]), "1"],
      [textOf([...lines, lines[2] ?? ""]), "5"],
    ] as const) {
      await writeFile(inFolder("audit.jsonl"), text);
      const told = await verify(inFolder("audit.jsonl"));
      expect(told.exitCode).toBe(EXIT.notVerified);
      expect(jsonError(told)).toMatchObject({ reason: "NOT_VERIFIED", metadata: { line } });
    }
  });

  test("audit verify trusts the keys that it was given, and no other", async () => {
    const file = inFolder("audit.jsonl");
    await writeFile(file, textOf(await bundle()));
    await run(["audit", "keygen", inFolder("other.pem")]);
    const other = await run(["audit", "verify", file, "--key", inFolder("other.pem.pub")]);
    expect(other.exitCode).toBe(EXIT.notVerified);
    expect(other.stderr).toContain("none of those given");
    const both = await run([
      "audit",
      "verify",
      file,
      "--key",
      `${inFolder("other.pem.pub")},${inFolder("key.pem.pub")}`,
    ]);
    expect(both.exitCode).toBe(EXIT.ok);
    const pems = await Promise.all(
      ["other.pem.pub", "key.pem.pub"].map((name) => readFile(inFolder(name), "utf8")),
    );
    await writeFile(inFolder("ours.pem"), pems.join(""));
    expect((await run(["audit", "verify", file, "--key", inFolder("ours.pem")])).exitCode).toBe(EXIT.ok);
    for (const args of [["--key", file], ["--key", inFolder("absent")], ["--key", inFolder("key.pem")], []])
      expect((await run(["audit", "verify", file, ...args])).exitCode).toBe(EXIT.usage);
  });

  test("audit verify takes bundles in their order, and the head that somebody kept", async () => {
    const first = await bundle();
    const second = await bundle(2, digestIn(first));
    const [one, two] = [inFolder("1.jsonl"), inFolder("2.jsonl")];
    await writeFile(one, textOf(first));
    await writeFile(two, textOf(second));
    const kept = `2:${digestIn(second)}`;
    expect((await verify(one, two, "--head", kept)).exitCode).toBe(EXIT.ok);
    expect((await verify(one, "--head", kept)).exitCode).toBe(EXIT.notVerified);
    expect((await verify(one, two, "--head", `2:${digestIn(first)}`)).exitCode).toBe(EXIT.notVerified);
    expect((await verify(two, "--head", `1:${digestIn(second)}`)).exitCode).toBe(EXIT.notVerified);
    expect((await verify(two, "--head", `1:${digestIn(first)}`)).exitCode).toBe(EXIT.ok);
    expect((await verify(two, one)).exitCode).toBe(EXIT.usage);
    expect((await verify(one, "--head", "2")).exitCode).toBe(EXIT.usage);
  });
});

test("a week without changes is a bundle, too, and hides no other history", async () => {
  await run(["audit", "keygen", inFolder("key.pem")]);
  const first = await bundle();
  const files = [first, await emptyBundle(2, digestIn(first)), await bundle(2, digestIn(first))];
  const names = files.map((_, at) => inFolder(`${at}.jsonl`));
  for (const [at, lines] of files.entries()) await writeFile(names[at] ?? "", textOf(lines));
  const verify = (...args: string[]) => run(["audit", "verify", ...args, "--key", inFolder("key.pem.pub")]);
  expect((await verify(...names)).exitCode).toBe(EXIT.ok);
  const [, quiet = ""] = names;
  expect((await verify(quiet, "--head", `1:${digestIn(first)}`)).exitCode).toBe(EXIT.ok);
  expect((await verify(quiet, "--head", `1:${digestOfSeal("another")}`)).exitCode).toBe(EXIT.notVerified);
  expect((await verify(quiet, "--head", `0:${digestOfSeal("another")}`)).exitCode).toBe(EXIT.usage);
});

test("audit head shows the seal to keep, and what is not sealed", async () => {
  const cli = await withHub({
    audit: {
      getHead: () => ({
        head: {
          number: 7n,
          digest: "abc",
          operations: 3,
          sealedAt: timestampFromMs(Date.now()),
          keyId: "k1",
        },
        waiting: 2,
        oldestWaitingAt: timestampFromMs(Date.now()),
      }),
    },
  });
  const { stdout } = await cli("audit", "head");
  expect(stdout).toMatch(/head +7:abc\n/);
  expect(stdout).toMatch(/waiting +2 changes/);
  expect(stdout).toMatch(/this hub +seals nothing: it has no --audit-key/);
});
