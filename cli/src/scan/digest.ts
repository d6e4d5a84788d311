import { createHash, type Hash } from "node:crypto";
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";

// The digest of a package: SHA-512 over one line per file, "<sha512 of the content>  <path>\n", in the byte order
// of the paths. That is what these commands print, for file names without newlines and backslashes:
//
//   find . -path ./node_modules -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha512sum | sha512sum
//
// Only regular files count. The package's own node_modules holds other packages and is left out. The digests of the
// single files are all the state there is, so a digest can be interrupted after any file and taken up again.

export const FILE_DIGEST_BYTES = 64;
const READ_BYTES = 256 * 1024;

export interface FileDigest {
  readonly digest: Uint8Array;
  readonly bytes: number;
}

/** Paths of the files, relative, with forward slashes, in byte order. */
export async function listFiles(directory: string): Promise<readonly string[]> {
  const files: Buffer[] = [];
  const pending = [""];
  for (let prefix = pending.pop(); prefix !== undefined; prefix = pending.pop()) {
    for (const entry of await readdir(join(directory, prefix), { withFileTypes: true })) {
      const path = `${prefix}${entry.name}`;
      if (entry.isDirectory() && path !== "node_modules") {
        pending.push(`${path}/`);
      } else if (entry.isFile()) {
        files.push(Buffer.from(path));
      }
    }
  }
  return files.sort(Buffer.compare).map((path) => path.toString());
}

/** Digest of one file, read in pieces; the signal is looked at between them. */
export async function digestFile(path: string, signal: AbortSignal): Promise<FileDigest> {
  const file = await open(path);
  try {
    const hash = createHash("sha512");
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    let bytes = 0;
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES);
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
      // Only the end of a regular file makes a read short.
      if (bytesRead < READ_BYTES) {
        return { digest: hash.digest(), bytes };
      }
    }
  } finally {
    await file.close();
  }
}

/** The digest of the whole from the digests of its files, in hex. `digestAt(i)` belongs to `files[i]`. */
export function digestTree(files: readonly string[], digestAt: (index: number) => Uint8Array): string {
  const hash: Hash = createHash("sha512");
  for (const [index, path] of files.entries()) {
    hash.update(`${Buffer.from(digestAt(index)).toString("hex")}  ${path}\n`);
  }
  return hash.digest("hex");
}
