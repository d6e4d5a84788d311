import type { Manifest } from "./manifest.js";

// What `holdfast start`, which submits scans and reads their results, shares with the worker that runs them.

export const SCAN_KIND = "scan.package";

/** Payload of a scan: a package directory, as a path relative to the root of its tree. */
export interface ScanRequest {
  readonly root: string;
  readonly path: string;
}

/** Result of a scan. */
export interface ScannedPackage {
  readonly path: string;
  readonly manifest: Manifest;
  /** Name of the licence file, when there is one. */
  readonly licenceFile: string | undefined;
  /** SHA-512 over every file, in hex; see digest.ts. */
  readonly digest: string;
  readonly files: number;
  readonly bytes: number;
}
