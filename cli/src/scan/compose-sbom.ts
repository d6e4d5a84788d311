import { dirname, join } from "node:path";
import { Contrib, Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";
import { installedName, type PackageTree } from "./find-packages.js";
import { componentLicence } from "./licence.js";
import type { Manifest } from "./manifest.js";
import type { ScannedPackage } from "./scan-job.js";

// Writes what was scanned as a CycloneDX 1.6 bill of materials. One component per name and version, however often
// it is installed; its paths are properties. Names are those of `npm sbom`, purls and bom-refs carry the name of
// the manifest.

export interface SbomInput {
  readonly tree: PackageTree;
  /** By path; a package without a scan is left out. */
  readonly scanned: ReadonlyMap<string, ScannedPackage>;
  readonly toolVersion: string;
  readonly at: Date;
}

export interface Sbom {
  readonly text: string;
  readonly components: number;
}

export function composeSbom({ tree, scanned, toolVersion, at }: SbomInput): Sbom {
  const bom = new Models.Bom({ serialNumber: Contrib.Bom.Utils.randomSerialNumber() });
  const rootComponent = createRootComponent(tree);
  bom.metadata.timestamp = at;
  bom.metadata.component = rootComponent;
  bom.metadata.lifecycles.add(Enums.LifecyclePhase.Build);
  bom.metadata.tools.components.add(
    new Models.Component(Enums.ComponentType.Application, "holdfast", { version: toolVersion }),
  );

  const byIdentity = new Map<string, Models.Component>();
  const byDirectory = new Map<string, Models.Component>([[tree.root, rootComponent]]);
  for (const { directory, path, links } of tree.packages) {
    const scan = scanned.get(path);
    if (scan === undefined) {
      continue;
    }
    const identity = identityOf(directory, scan.manifest);
    const component = byIdentity.get(identity) ?? createScannedComponent(directory, scan);
    component.properties.add(new Models.Property("cdx:npm:package:path", path));
    byIdentity.set(identity, component);
    for (const place of [directory, ...links]) {
      byDirectory.set(place, component);
    }
    bom.components.add(component);
  }
  linkDependencies(tree, byDirectory);

  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return {
    text: `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`,
    components: bom.components.size,
  };
}

function createRootComponent({ root, manifest }: PackageTree): Models.Component {
  const name = manifest?.name ?? installedName(root);
  const component = createComponent(Enums.ComponentType.Application, name, root, manifest);
  const licence = componentLicence(manifest?.licence, undefined);
  if (licence !== undefined) {
    component.licenses.add(licence);
  }
  return component;
}

function createScannedComponent(directory: string, scan: ScannedPackage): Models.Component {
  const { manifest, licenceFile, digest } = scan;
  const component = createComponent(
    Enums.ComponentType.Library,
    installedName(directory),
    directory,
    manifest,
  );
  component.hashes.set(Enums.HashAlgorithm["SHA-512"], digest);
  const licence = componentLicence(manifest.licence, licenceFile);
  if (licence !== undefined) {
    component.licenses.add(licence);
  }
  return component;
}

function createComponent(
  type: Enums.ComponentType,
  name: string,
  directory: string,
  manifest: Manifest | undefined,
): Models.Component {
  const component = new Models.Component(type, name, { bomRef: identityOf(directory, manifest) });
  if (manifest?.version !== undefined) {
    component.version = manifest.version;
    component.purl = packageUrl(manifest.name ?? installedName(directory), manifest.version);
  }
  if (manifest?.description !== undefined) {
    component.description = manifest.description;
  }
  if (manifest?.author !== undefined) {
    component.author = manifest.author;
  }
  if (manifest?.isPrivate === true) {
    component.properties.add(new Models.Property("cdx:npm:package:private", "true"));
  }
  addReference(component, Enums.ExternalReferenceType.Website, manifest?.homepage);
  addReference(component, Enums.ExternalReferenceType.VCS, manifest?.repository);
  return component;
}

function addReference(
  component: Models.Component,
  type: Enums.ExternalReferenceType,
  url: string | undefined,
): void {
  // Shorthands such as "owner/name" are not URLs; the format demands one.
  if (url !== undefined && URL.canParse(url)) {
    component.externalReferences.add(new Models.ExternalReference(url, type));
  }
}

function identityOf(directory: string, manifest: Manifest | undefined): string {
  return `${manifest?.name ?? installedName(directory)}@${manifest?.version ?? ""}`;
}

/** https://github.com/package-url/purl-spec, type npm. */
function packageUrl(name: string, version: string): string {
  return `pkg:npm/${name.split("/").map(encodeURIComponent).join("/")}@${encodeURIComponent(version)}`;
}

/** Says which component each one depends on, resolving names as Node does: in the nearest node_modules upwards. */
function linkDependencies(tree: PackageTree, byDirectory: ReadonlyMap<string, Models.Component>): void {
  for (const { directory, manifest } of tree.packages) {
    link(directory, manifest.dependencies);
  }
  const rootModules = join(tree.root, "node_modules");
  const workspaces = tree.packages
    .flatMap(({ links }) => links)
    .filter((place) => place.startsWith(rootModules))
    .map((place) => place.slice(rootModules.length + 1));
  link(tree.root, [
    ...(tree.manifest?.dependencies ?? []),
    ...(tree.manifest?.devDependencies ?? []),
    ...workspaces,
  ]);

  function link(directory: string, names: readonly string[]): void {
    const component = byDirectory.get(directory);
    for (const name of names) {
      const dependency = resolveDependency(directory, name, byDirectory);
      if (component !== undefined && dependency !== undefined && dependency !== component) {
        component.dependencies.add(dependency.bomRef);
      }
    }
  }
}

function resolveDependency(
  directory: string,
  name: string,
  byDirectory: ReadonlyMap<string, Models.Component>,
): Models.Component | undefined {
  for (let at = directory; ; at = dirname(at)) {
    const found = byDirectory.get(join(at, "node_modules", name));
    if (found !== undefined || at === dirname(at)) {
      return found;
    }
  }
}
