import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What a scan reads of a package.json. Everything in it was written by strangers, so nothing is trusted. */
export interface Manifest {
  readonly name: string | undefined;
  readonly version: string | undefined;
  readonly description: string | undefined;
  readonly author: string | undefined;
  /** As declared: an SPDX id, an expression, or free text. */
  readonly licence: string | undefined;
  readonly homepage: string | undefined;
  readonly repository: string | undefined;
  readonly isPrivate: boolean;
  /** Names that may be installed for it: dependencies, optional and peer ones. */
  readonly dependencies: readonly string[];
  readonly devDependencies: readonly string[];
}

/** Undefined when there is no package.json, or it is not a JSON object. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  let value: unknown;
  try {
    value = JSON.parse((await readFile(join(directory, "package.json"), "utf8")).replace(/^\uFEFF/, ""));
  } catch {
    return undefined;
  }
  return isRecord(value) ? parseManifest(value) : undefined;
}

function parseManifest(fields: Record<string, unknown>): Manifest {
  return {
    name: textOf(fields.name),
    version: textOf(fields.version),
    description: textOf(fields.description),
    author: textOf(fields.author, "name"),
    licence: declaredLicence(fields),
    homepage: textOf(fields.homepage),
    repository: textOf(fields.repository, "url"),
    isPrivate: fields.private === true,
    dependencies: ["dependencies", "optionalDependencies", "peerDependencies"].flatMap((field) =>
      namesOf(fields[field]),
    ),
    devDependencies: namesOf(fields.devDependencies),
  };
}

/** The `license` field, its older object form, or the still older list `licenses`. */
function declaredLicence(fields: Record<string, unknown>): string | undefined {
  const single = textOf(fields.license, "type");
  if (single !== undefined) {
    return single;
  }
  const several = Array.isArray(fields.licenses)
    ? fields.licenses.map((licence) => textOf(licence, "type")).filter((text) => text !== undefined)
    : [];
  return several.length === 0 ? undefined : several.join(" OR ");
}

/** A text, or the text in the given field of an object; empty ones are absent. */
function textOf(value: unknown, field?: string): string | undefined {
  if (field !== undefined && isRecord(value)) {
    return textOf(value[field]);
  }
  return typeof value === "string" && value.trim() !== "" ? value.trim() : undefined;
}

function namesOf(value: unknown): readonly string[] {
  return isRecord(value) ? Object.keys(value) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
