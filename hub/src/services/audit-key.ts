// The key that seals are signed with: Ed25519, in a PEM file, which is best kept where the ledger is not.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
} from "node:crypto";
import { existsSync } from "node:fs";
import { constants, copyFile, link, readFile, rm, stat, writeFile } from "node:fs/promises";
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
  /** What was signed: checked where this key is named, taken as it is where another is. */
  readonly read: ReadSigned;
  /** The payload as a JWS in compact form (RFC 7515, RFC 8037). */
  readonly sign: (type: SignedType, payload: object) => Promise<string>;
}

/**
 * Makes a key pair: the private key in the file, readable by its owner only, and the public key beside it, with `.pub` behind
 * the name.
 *
 * @throws EEXIST when one of them is there, and what else the file system says
 */
export async function makeAuditKey(file: string): Promise<void> {
  const publicFile = publicFileOf(file);
  // Without its private key it is still what former seals are verified by.
  if (existsSync(publicFile))
    throw Object.assign(new Error(`${publicFile} is there already`), { code: "EEXIST" });
  const { privateKey, publicKey } = generateKeyPairSync(keyType);
  await writeNew(file, privateKey.export({ type: "pkcs8", format: "pem" }), 0o600);
  await writePublicHalf(file, publicKey.export({ type: "spki", format: "pem" }));
}

/** Writes the public key beside the private one, where it is not there. */
export async function writePublicHalf(file: string, publicKeyPem: string | Buffer): Promise<void> {
  await writeNew(publicFileOf(file), publicKeyPem, 0o644).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
}

export function publicFileOf(file: string): string {
  return `${file}.pub`;
}

/** @throws when the file cannot be read, or holds no private key of the kind; the message says what to do */
export async function openAuditSigner(file: string): Promise<AuditSigner> {
  const key = await readPrivateKey(file);
  const publicKey = createPublicKey(key);
  const keyId = await keyIdOf(publicKey);
  const publicKeyPem = String(publicKey.export({ type: "spki", format: "pem" }));
  const readOwn = await trustKeys([publicKeyPem]);
  return {
    keyId,
    publicKeyPem,
    read: async (jws, type) => (keyIdIn(jws) === keyId ? readOwn : readUnverified)(jws, type),
    sign: (type, payload) =>
      new CompactSign(Buffer.from(JSON.stringify(payload)))
        .setProtectedHeader({ alg: algorithm, kid: keyId, typ: type })
        .sign(key),
  };
}

const pemBlock = /-----BEGIN ([A-Z ]+)-----[^-]*-----END \1-----/g;

/**
 * Reads what one of these public keys signed.
 *
 * @param pems each with one key or several
 * @throws when one has none, or another than a public key of the kind
 */
export async function trustKeys(pems: readonly string[]): Promise<ReadSigned> {
  const trusted = new Map<string, KeyObject>();
  for (const [pem, label] of pems.flatMap(blocksOf)) {
    if (label !== "PUBLIC KEY") throw new Error(`it is a ${label}, not a PUBLIC KEY`);
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

function blocksOf(pem: string): (readonly [string, string])[] {
  const blocks = [...pem.matchAll(pemBlock)].map(([block, label = ""]) => [block, label] as const);
  if (blocks.length === 0) throw new Error("it holds no key in PEM");
  return blocks;
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
  try {
    await writeFile(part, text, { flag: "wx", mode, flush: true });
    await link(part, file).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code === "EEXIST") throw error;
      // Not every file system has links.
      await copyFile(part, file, constants.COPYFILE_EXCL);
    });
  } finally {
    await rm(part, { force: true });
  }
}
