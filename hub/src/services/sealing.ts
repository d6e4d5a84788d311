import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  type AuditSigner,
  isReadByOthers,
  makeAuditKey,
  openAuditSigner,
  publicFileOf,
  writePublicHalf,
} from "./audit-key.js";
import { sealMetrics } from "./hub-metrics.js";
import { Sealer, type SealerObserver } from "./sealer.js";

/** Signer and sealer of a hub that has an audit key. */
export interface Sealing {
  readonly signer: AuditSigner;
  readonly sealer: Sealer;
}

/**
 * What a hub signs with; null when it has no key. With the embedded ledger one is made in its folder.
 *
 * @throws when the key cannot be used
 */
export async function provideAuditSigner(
  {
    auditKey,
    databaseUrl,
    dataDir,
  }: { auditKey: string | null; databaseUrl: string | null; dataDir: string },
  log: (line: string) => void,
): Promise<AuditSigner | null> {
  const file = auditKey ?? (databaseUrl === null ? join(dataDir, "audit-key.pem") : null);
  if (file === null) {
    log("this hub has no --audit-key: it does not seal what operators change");
    return null;
  }
  if (auditKey === null) await makeIfMissing(file, log);
  const signer = await openAuditSigner(file);
  if (auditKey === null) await writePublicHalf(file, signer.publicKeyPem);
  if (await isReadByOthers(file)) log(`warning: others can read the audit key ${file}: chmod 600 it`);
  return signer;
}

export function sealingBy(
  signer: AuditSigner,
  ledger: ConstructorParameters<typeof Sealer>[0],
  log: (line: string) => void,
  onError: (error: unknown) => void,
): Sealing {
  const metrics = sealMetrics();
  const observer: SealerObserver = {
    // A line for each: whoever collects the log has the heads of the chain outside the ledger.
    sealed: ({ tenant, number, operations }, digest) => {
      metrics.sealed(operations.count);
      log(`sealed ${operations.count} operations of tenant ${tenant}: seal ${number}, ${digest}`);
    },
    waited: metrics.waited,
  };
  return { signer, sealer: new Sealer(ledger, signer, observer, onError) };
}

async function makeIfMissing(file: string, log: (line: string) => void): Promise<void> {
  if (existsSync(file)) return;
  // PostgreSQL may have its files elsewhere: then nobody has made this folder.
  await mkdir(dirname(file), { recursive: true });
  try {
    await makeAuditKey(file);
    log(`made an audit key: ${file}; the public half is in ${publicFileOf(file)}`);
  } catch (error) {
    // Of hubs that start together one makes it.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !existsSync(file)) throw error;
  }
}
