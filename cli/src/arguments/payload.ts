import { readFile } from "node:fs/promises";
import { usageError } from "../cli-error.js";
import type { Io } from "../io.js";
import { readAll } from "../read-stream.js";

export const JSON_CONTENT_TYPE = "application/json";

export interface Payload {
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

/**
 * Reads the value of --payload: JSON text, "@file", or "-" for stdin. Unless another content type is given it
 * must be JSON, so that a slip of quoting is found here and not by the handler.
 */
export async function readPayload(value: string, contentType: string | undefined, io: Io): Promise<Payload> {
  const bytes = await payloadBytes(value, io);
  if (contentType === undefined || contentType === JSON_CONTENT_TYPE) {
    checkJson(bytes, value);
  }
  return { bytes, contentType: contentType ?? JSON_CONTENT_TYPE };
}

async function payloadBytes(value: string, io: Io): Promise<Uint8Array> {
  if (value === "-") {
    return readAll(io.stdin);
  }
  if (value.startsWith("@")) {
    const file = value.slice(1);
    try {
      return await readFile(file);
    } catch (error) {
      throw usageError(
        `--payload ${value} cannot be read: ${(error as Error).message}.`,
        "Name a file after the @, for example --payload @job.json.",
      );
    }
  }
  return Buffer.from(value);
}

function checkJson(bytes: Uint8Array, value: string): void {
  try {
    JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw usageError(
      `--payload is not JSON: ${(error as Error).message}.`,
      value === "-" || value.startsWith("@")
        ? "Correct it, or name its type with --content-type."
        : `Quote it for the shell, for example --payload '{"name":"Ada"}', or name its type with --content-type.`,
    );
  }
}
