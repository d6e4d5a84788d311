import type { Manifest } from "./manifest.js";

// What `holdfast start` and `holdfast fleet up`, which submit scans and read their results, share with the workers that
// run them. A run of scans: a parent that composes the bill of materials, a child for each package.

export const SCAN_KIND = "scan.package";

/** The parent. Its worker writes the bill. */
export const COMPOSE_KIND = "sbom.compose";

/** A child that adds the scans that did not fit into the first call: while it is open, the parent waits. */
export const ADD_SCANS_KIND = "scan.add";

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

/** Payload of the parent. */
export interface ComposeRequest {
  readonly root: string;
}

/** Result of the parent. */
export interface ComposedSbom {
  readonly path: string;
  readonly components: number;
}

/** Payload of a child that adds scans. */
export interface AddScansRequest {
  readonly root: string;
  /** Place of the first package to scan among all that are found. */
  readonly from: number;
  /** Of the run; see scanJob. */
  readonly label: string;
}

/** A scan to submit. */
export interface ScanJobInit {
  readonly kind: string;
  readonly payload: ScanRequest;
  readonly labels: Readonly<Record<string, string>>;
  readonly idempotencyKey: string;
}

/** @param label makes the scans of a run its own: their label "run", and the prefix of their idempotency keys */
export function scanJob(root: string, path: string, label: string, place: number): ScanJobInit {
  return {
    kind: SCAN_KIND,
    payload: { root, path },
    labels: { run: label },
    idempotencyKey: `${label}/${place}`,
  };
}

/** Children that one call of the protocol takes. */
export const CHILDREN_PER_CALL_MAX = 1_000;

export function* slices<Item>(items: readonly Item[], itemsMax: number): Generator<Item[]> {
  for (let start = 0; start < items.length; start += itemsMax) {
    yield items.slice(start, start + itemsMax);
  }
}
