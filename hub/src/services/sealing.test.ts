import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeAuditKey } from "./audit-key.js";
import { provideAuditSigner } from "./sealing.js";

async function open(options: { auditKey?: string; databaseUrl?: string; dataDir?: string }) {
  const lines: string[] = [];
  const given = { auditKey: null, databaseUrl: null, dataDir: "absent", ...options };
  return { signer: await provideAuditSigner(given, (line) => lines.push(line)), lines };
}

async function inFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-sealing-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

test("with the embedded ledger a key is made once, in a folder that need not be there", async () => {
  const dataDir = join(await inFolder(), "data");
  const [one, other] = await Promise.all([open({ dataDir }), open({ dataDir })]);
  const later = await open({ dataDir });
  expect(one.signer?.keyId).toBe(other.signer?.keyId);
  expect(later.signer?.keyId).toBe(one.signer?.keyId);
  expect([...one.lines, ...other.lines, ...later.lines]).toHaveLength(1);
  expect((await stat(join(dataDir, "audit-key.pem"))).mode & 0o777).toBe(0o600);
  expect(await readFile(join(dataDir, "audit-key.pem.pub"), "utf8")).toBe(later.signer?.publicKeyPem);
});

test("with a PostgreSQL of one's own nothing is made", async () => {
  const { signer, lines } = await open({ databaseUrl: "postgres://db/ledger" });
  expect(signer).toBeNull();
  expect(lines).toEqual(["this hub has no --audit-key: it does not seal what operators change"]);
});

test("a key that others can read is warned of", async () => {
  const auditKey = join(await inFolder(), "key.pem");
  await makeAuditKey(auditKey);
  await chmod(auditKey, 0o644);
  const { signer, lines } = await open({ auditKey });
  expect(signer).not.toBeNull();
  expect(lines).toEqual([`warning: others can read the audit key ${auditKey}: chmod 600 it`]);
});
