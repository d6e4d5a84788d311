import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

export interface Fixture {
  readonly root: string;
  remove(): Promise<void>;
}

/** A tree of files in a temporary directory. A value that begins with "-> " makes a link to a path of the tree. */
export async function createFixture(files: Readonly<Record<string, string | object>>): Promise<Fixture> {
  const root = await mkdtemp(join(tmpdir(), "holdfast-tree-"));
  for (const [path, content] of Object.entries(files)) {
    const file = join(root, path);
    await mkdir(dirname(file), { recursive: true });
    if (typeof content === "string" && content.startsWith("-> ")) {
      await symlink(join(root, content.slice(3)), file);
    } else {
      await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
    }
  }
  return { root, remove: () => rm(root, { recursive: true, force: true }) };
}

interface NpmComponent {
  readonly name: string;
  readonly version: string;
  readonly "bom-ref": string;
}

/** What `npm sbom` says about a tree. */
export async function npmSbom(root: string): Promise<readonly NpmComponent[]> {
  const { stdout } = await promisify(execFile)("npm", ["sbom", "--sbom-format", "cyclonedx"], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
    // npm runs as it would by hand, without what the npm that runs the tests passes on.
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_ENV$/i.test(name))),
  });
  return (JSON.parse(stdout) as { components: readonly NpmComponent[] }).components;
}
