// The key that seals are signed with: Ed25519, in a PEM file, which is best kept where the ledger is not.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
} from "node:crypto";
import { link, open, readFile, stat, unlink, writeFile } from "node:fs/promises";
import { CompactSign, calculateJwkThumbprint, compactVerify, decodeProtectedHeader, exportJWK } from "jose";
import type { SignedType } from "../domain/audit.js";
import type { ReadSigned } from "../domain/audit-check.js";

const keyType = "ed25519";
const algorithm = "EdDSA";

/** Signs seals and bundles. */
export interface AuditSigner {
  /** Thumbprint of the public key (RFC 7638). */
  readonly keyId: string;
  readonly publicKeyPem: string;
  /** The payload as a JWS in compact form (RFC 7515, RFC 8037). */
  readonly sign: (type: SignedType, payload: object) => Promise<string>;
}

/**
 * Makes a key pair: the private key in the file, which must not be there, readable by its owner only; the public key beside
 * it, with `.pub` behind the name.
 *
 * @throws EEXIST and what else the file system says
 */
export async function makeAuditKey(file: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync(keyType);
  await writeNew(file, privateKey.export({ type: "pkcs8", format: "pem" }), 0o600);
  await writeFile(`${file}.pub`, publicKey.export({ type: "spki", format: "pem" }));
}

/** @throws when the file cannot be read, or holds no private key of the kind; the message says what to do */
export async function openAuditSigner(file: string): Promise<AuditSigner> {
  const key = await readPrivateKey(file);
  const publicKey = createPublicKey(key);
  const keyId = await keyIdOf(publicKey);
  return {
    keyId,
    publicKeyPem: String(publicKey.export({ type: "spki", format: "pem" })),
    sign: (type, payload) =>
      new CompactSign(Buffer.from(JSON.stringify(payload)))
        .setProtectedHeader({ alg: algorithm, kid: keyId, typ: type })
        .sign(key),
  };
}

/**
 * Reads what one of these public keys (PEM) signed.
 *
 * @throws when one is no key of the kind
 */
export async function trustKeys(pems: readonly string[]): Promise<ReadSigned> {
  const trusted = new Map<string, KeyObject>();
  for (const pem of pems) {
    const key = createPublicKey(pem);
    if (key.asymmetricKeyType !== keyType) throw new Error(`it is of type ${key.asymmetricKeyType}`);
    trusted.set(await keyIdOf(key), key);
  }
  return async (jws, type) => {
    const { kid = "", typ } = decodeProtectedHeader(jws);
    const key = trusted.get(kid);
    if (!key) throw new Error(`its key is ${kid || "not named"}, and none of those given.`);
    if (typ !== type) throw new Error(`it is a ${typ}, not a ${type}.`);
    const { payload } = await compactVerify(jws, key, { algorithms: [algorithm] });
    return JSON.parse(Buffer.from(payload).toString());
  };
}

/** Reads what anybody signed: enough to see that a bundle is whole, and that the ledger has what was sealed. */
export const readUnverified: ReadSigned = async (jws) =>
  JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString());

/** Id of the key that a JWS names. */
export function keyIdIn(jws: string): string {
  return decodeProtectedHeader(jws).kid ?? "";
}

async function keyIdOf(publicKey: KeyObject): Promise<string> {
  return await calculateJwkThumbprint(await exportJWK(publicKey));
}

/** Whether others than its owner can read the file. */
export async function isReadByOthers(file: string): Promise<boolean> {
  return process.platform !== "win32" && ((await stat(file)).mode & 0o077) !== 0;
}

async function readPrivateKey(file: string): Promise<KeyObject> {
  let key: KeyObject;
  try {
    key = createPrivateKey(await readFile(file));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `The audit key ${file} cannot be used: ${why}. \`holdfast audit keygen FILE\` makes one.`,
      {
        cause,
      },
    );
  }
  if (key.asymmetricKeyType === keyType) return key;
  throw new Error(
    `The audit key ${file} is of type ${key.asymmetricKeyType}, not Ed25519. \`holdfast audit keygen FILE\` makes one.`,
  );
}

/** Never a part of a file: nobody could tell it from a whole one that was damaged. */
async function writeNew(file: string, text: string | Buffer, mode: number): Promise<void> {
  const part = `${file}.${randomUUID()}.part`;
  const handle = await open(part, "w", mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
    await link(part, file);
  } finally {
    await handle.close();
    await unlink(part);
  }
}
