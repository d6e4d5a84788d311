import { createReadStream } from "node:fs";
import {
  BundleCheck,
  BundleDefect,
  type CheckedBundle,
  type KnownSeal,
  type ReadSigned,
} from "@holdfast/hub/audit-check";
import { CliError, usageError } from "../cli-error.js";
import { EXIT } from "../exit-codes.js";

/** No line that a hub writes is nearly as long. */
const LINE_BYTES_MAX = 16 << 20;
const LINE_FEED = 0x0a;

/**
 * Checks one bundle, in constant memory.
 *
 * @param known digests that are known of seals: the bundle must agree with them
 * @throws CliError of exit code notVerified, saying which line is not as it was signed
 */
export async function checkBundle(
  file: string,
  readSigned: ReadSigned,
  known: readonly KnownSeal[],
): Promise<CheckedBundle> {
  const check = new BundleCheck(readSigned, known);
  try {
    for await (const line of linesOf(file)) await check.take(line);
    return check.finish();
  } catch (error) {
    if (!(error instanceof BundleDefect)) throw error;
    throw new CliError(`${file}, line ${error.line}: ${error.message}`, {
      exitCode: EXIT.notVerified,
      reason: "NOT_VERIFIED",
      metadata: { file, line: String(error.line) },
      next: error.isUntrusted
        ? "Give --key all public keys that you trust, former ones too. If its key is none of them, do not rely on this bundle."
        : "Do not rely on this bundle. Export it again; if that one is not good either, the ledger was changed by hand.",
    });
  }
}

/** As bytes: reading them as text would hide changes that are no text. */
async function* linesOf(file: string): AsyncGenerator<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  let number = 1;
  const next = (last: Buffer) => {
    const line = Buffer.concat([...parts.splice(0), last]);
    bytes = 0;
    number += 1;
    return line;
  };
  for await (const chunk of readFile(file)) {
    let from = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, from)) {
      yield next(chunk.subarray(from, end));
      from = end + 1;
    }
    if (from === chunk.length) continue;
    parts.push(chunk.subarray(from));
    bytes += chunk.length - from;
    if (bytes > LINE_BYTES_MAX)
      throw new BundleDefect(number, "This is no line of a bundle: it is too long.");
  }
  if (bytes > 0) throw new BundleDefect(number, "The bundle is cut off within a line.");
}

async function* readFile(file: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(file) as AsyncIterable<Buffer>;
  } catch (error) {
    throw usageError(
      `${file} cannot be read: ${(error as Error).message}.`,
      "Name a bundle of `holdfast audit export`.",
    );
  }
}
