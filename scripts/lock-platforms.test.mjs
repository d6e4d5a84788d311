import { describe, expect, it } from "vitest";
import { missingPlatforms, readLockPackages } from "./lock-platforms.mjs";

describe("package-lock.json", () => {
  it("has the packages of every platform, so that npm ci takes it (else: node scripts/lock-platforms.mjs)", async () => {
    const missing = missingPlatforms(await readLockPackages());

    expect(missing.map(({ name }) => name)).toEqual([]);
  });

  it("names no registry, so that an installation asks the one it is configured with", async () => {
    const resolved = Object.values(await readLockPackages()).map((entry) => entry.resolved ?? "");

    expect(resolved.filter((address) => address.includes("://"))).toEqual([]);
  });
});

describe("missing platforms", () => {
  it("are found where the package itself, or one around it, has no entry for them", () => {
    const packages = {
      "node_modules/tool": {
        optionalDependencies: { "tool-linux-x64": "1.0.0", "tool-darwin-arm64": "1.0.0" },
      },
      "node_modules/tool-linux-x64": {},
      "node_modules/a/node_modules/b": {
        optionalDependencies: { "tool-linux-x64": "1.0.0", "b-win32-x64": "2.0.0" },
      },
      "node_modules/a/node_modules/b-win32-x64": {},
    };

    expect(missingPlatforms(packages).map(({ name }) => name)).toEqual(["tool-darwin-arm64"]);
  });
});
