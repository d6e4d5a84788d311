import { readFile } from "node:fs/promises";
import type { ReadSigned } from "@holdfast/hub/audit-check";
import { trustKeys } from "@holdfast/hub/audit-key";
import { usageError } from "../cli-error.js";

/** Reads the public keys of files. */
export async function readTrustedKeys(files: readonly string[]): Promise<ReadSigned> {
  const pems = await Promise.all(
    files.map(async (file) => {
      try {
        const pem = await readFile(file, "utf8");
        await trustKeys([pem]);
        return pem;
      } catch (error) {
        throw usageError(
          `--key ${file} is no public key of an audit: ${(error as Error).message}.`,
          "`holdfast audit keygen FILE` writes it to FILE.pub.",
        );
      }
    }),
  );
  return await trustKeys(pems);
}
