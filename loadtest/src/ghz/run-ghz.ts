import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ghzBinary, repositoryRoot } from "../go-programs.js";
import { type GhzRun, readGhzReport } from "./ghz-report.js";
import type { Stock } from "./stock.js";

const run = promisify(execFile);
const graceMs = 60_000;

export type Load =
  /** So many calls at once, each followed by the next: how much goes through. */
  | { readonly type: "closed"; readonly concurrency: number }
  /** So many calls per second, whatever becomes of those before: how long each takes. */
  | { readonly type: "open"; readonly callsPerSecond: number };

/** A file of messages, within the directory that its imports begin at. */
export interface ProtoFile {
  readonly root: string;
  readonly path: string;
}

export interface GhzOrder {
  /** Name of its file in loadtest/ghz/, without an ending. */
  readonly scenario: string;
  /** Where ghz learns the messages from: a file, or (null) the hub's reflection. */
  readonly proto: ProtoFile | null;
  readonly address: string;
  readonly load: Load;
  /** It ends with whichever comes first. */
  readonly seconds: number;
  readonly callsMax: number;
  readonly stock: Stock;
  readonly scratchDir: string;
}

/** Workers that send an open load; ghz spreads the rate over them. */
const openSenders = 32;

/** @throws when ghz fails, with what it said */
export async function runGhz(order: GhzOrder): Promise<GhzRun> {
  const { scenario, proto, address, load, seconds, callsMax, stock, scratchDir } = order;
  const out = join(scratchDir, "ghz-report.json");
  const args = [
    ...["--config", join(repositoryRoot, "loadtest", "ghz", `${scenario}.json`)],
    ...(proto === null ? [] : ["--proto", proto.path, "--import-paths", proto.root]),
    ...(load.type === "closed"
      ? ["--concurrency", String(load.concurrency), "--total", String(callsMax)]
      : [
          ...["--async", "--rps", String(load.callsPerSecond), "--concurrency", String(openSenders)],
          ...["--total", String(Math.max(openSenders, Math.min(callsMax, load.callsPerSecond * seconds)))],
        ]),
    ...["--max-duration", `${seconds}s`, "--duration-stop", "wait"],
    ...["--format", "json", "--output", out],
  ];
  if (stock.messages !== null) {
    const data = join(scratchDir, "ghz-data.json");
    await writeFile(data, JSON.stringify(stock.messages));
    args.push("--data-file", data, "--disable-template-data");
  }
  await run(ghzBinary, [...args, address], {
    cwd: repositoryRoot,
    env: { ...process.env, ...stock.env },
    timeout: seconds * 2_000 + graceMs,
    maxBuffer: 16 << 20,
  });
  return readGhzReport(await readFile(out, "utf8"));
}
