import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { type CpuProfile, callTree } from "./call-tree.js";
import { flameGraph } from "./flame-graph.js";

const ending = ".cpuprofile";

/** Draws a flame graph beside each CPU profile below a directory; answers how many. */
export async function drawProfiles(directory: string): Promise<number> {
  const files = await readdir(directory, { recursive: true });
  const profiles = files.filter((file) => file.endsWith(ending));
  for (const file of profiles) {
    const path = join(directory, file);
    const profile = JSON.parse(await readFile(path, "utf8")) as CpuProfile;
    const title = relative(directory, path).slice(0, -ending.length);
    await writeFile(path.replace(/\.cpuprofile$/, ".svg"), flameGraph(title, callTree(profile)));
  }
  return profiles.length;
}
