import { readdir, realpath } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { type Manifest, readManifest } from "./manifest.js";

// Finds the installed packages of a tree: the same ones that `npm sbom` finds, in the same order.
// - Every entry of node_modules counts, scoped ones included, at every depth; names that begin with a dot do not.
// - A link (a workspace, a store of pnpm) counts once, as the directory that it leads to.
// - A dependency that such a directory finds only in a node_modules further up counts too.
// - The root is not one of its own packages.

export interface InstalledPackage {
  /** Path from the root, with forward slashes; begins with ".." when a link leads out of the tree. */
  readonly path: string;
  /** Absolute. */
  readonly directory: string;
  /** Absolute paths of the links that lead to it. */
  readonly links: readonly string[];
  readonly manifest: Manifest;
}

export interface PackageTree {
  readonly root: string;
  readonly manifest: Manifest | undefined;
  /** Sorted by path. One name and version may be installed at several paths. */
  readonly packages: readonly InstalledPackage[];
  /** Entries of node_modules without a package.json that names a version: npm refuses such trees. */
  readonly skipped: readonly string[];
}

interface Found {
  readonly directory: string;
  readonly manifest: Manifest | undefined;
  readonly links: string[];
}

export async function findPackages(rootDirectory: string): Promise<PackageTree> {
  const root = await realpath(rootDirectory);
  const manifest = await readManifest(root);
  const found = new Map<string, Found>([[root, { directory: root, manifest, links: [] }]]);

  await findInstalledUnder(root);
  // The map grows while it is walked: what is found for a dependency is walked as well.
  for (const one of found.values()) {
    await findDependenciesOf(one);
  }
  found.delete(root);

  const all = [...found.values()].map((one) => ({
    ...one,
    path: relative(root, one.directory).replaceAll(sep, "/"),
  }));
  all.sort((a, b) => a.path.localeCompare(b.path, "en"));
  return {
    root,
    manifest,
    packages: all.filter((one): one is typeof one & InstalledPackage => isPackage(one.manifest)),
    skipped: all.filter((one) => !isPackage(one.manifest)).map((one) => one.path),
  };

  async function findInstalledUnder(directory: string): Promise<void> {
    const modules = join(directory, "node_modules");
    for (const name of await entriesOf(modules)) {
      await visit(join(modules, name));
    }
  }

  async function visit(path: string): Promise<void> {
    const directory = await realpath(path).catch(() => undefined);
    if (directory === undefined) {
      return;
    }
    const isNew = !found.has(directory);
    const one = found.get(directory) ?? { directory, manifest: await readManifest(directory), links: [] };
    found.set(directory, one);
    if (directory !== path) {
      one.links.push(path);
    }
    if (isNew) {
      await findInstalledUnder(directory);
    }
  }

  async function findDependenciesOf({ directory, manifest, links }: Found): Promise<void> {
    // Development dependencies are installed for the root and for what is linked into the tree, not for the rest.
    const hasDevelopment = directory === root || links.length > 0;
    const names = [
      ...(manifest?.dependencies ?? []),
      ...(hasDevelopment ? (manifest?.devDependencies ?? []) : []),
    ];
    for (const name of names) {
      for (const at of [directory, ...directoriesAbove(directory, root)]) {
        const path = join(at, "node_modules", name);
        if ((await realpath(path).catch(() => undefined)) !== undefined) {
          await visit(path);
          break;
        }
      }
    }
  }
}

/**
 * The name that npm gives an installed package: that of its directory, with the scope if it is in one. It is not
 * always the name in the manifest: aliases and workspaces differ.
 */
export function installedName(directory: string): string {
  const scope = basename(dirname(directory));
  return scope.startsWith("@") ? `${scope}/${basename(directory)}` : basename(directory);
}

export function isPackage(manifest: Manifest | undefined): manifest is Manifest {
  return manifest?.version !== undefined;
}

/** The names in a node_modules directory, those in scopes as "@scope/name". Nothing when it does not exist. */
async function entriesOf(modules: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const name of await visibleEntries(modules)) {
    if (name.startsWith("@")) {
      names.push(...(await visibleEntries(join(modules, name))).map((scoped) => `${name}/${scoped}`));
    } else {
      names.push(name);
    }
  }
  return names;
}

async function visibleEntries(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  return names.filter((name) => !name.startsWith("."));
}

/** The directories where Node looks next for a dependency, as far up as the nearest ancestor shared with the root. */
function* directoriesAbove(directory: string, root: string): Generator<string> {
  const top = sharedAncestor(directory, root);
  for (let above = dirname(directory); above.startsWith(top); above = dirname(above)) {
    yield above;
    if (above === dirname(above)) {
      return;
    }
  }
}

function sharedAncestor(a: string, b: string): string {
  let shared = a;
  while (!(resolve(b) + sep).startsWith(shared.endsWith(sep) ? shared : shared + sep)) {
    shared = dirname(shared);
  }
  return shared;
}
