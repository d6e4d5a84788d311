import { readFileSync } from "node:fs";

interface PackageFile {
  readonly version: string;
}

/** Version of this package. */
export const hubVersion = (
  JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as PackageFile
).version;
