// River, which is a Go program of its own: this one starts it, passes on what it says, and ends with it. What it reads
// on its standard input is the end of this program, however that comes about.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { DrainMarks } from "../drain/contestant.js";
import { riverBinary } from "../go-programs.js";
import type { LifeParams, LifeSays } from "../life/life-program.js";
import { riverSettings } from "../river-settings.js";
import { type ProgramMessage, runProgram } from "../run-program.js";

export type RiverParams = { readonly databaseUrl: string } & (
  | { readonly act: "submit"; readonly jobs: number; readonly payloadBytes: number }
  | { readonly act: "drain"; readonly jobs: number; readonly warmUpJobs: number }
  | { readonly act: "live"; readonly life: LifeParams }
);

export type RiverSays = LifeSays & {
  readonly submitted: { readonly jobs: number };
  readonly drained: DrainMarks;
};

await runProgram<RiverParams, RiverSays>(async (params, say) => {
  const child = spawn(riverBinary, [JSON.stringify({ ...params, settings: riverSettings })], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", resolve);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { kind, what } = JSON.parse(line) as ProgramMessage;
    say(kind as keyof RiverSays, what as RiverSays[keyof RiverSays]);
  });
  void ended.then((code) => {
    if (code !== 0) process.exit(1);
  });
  return async () => {
    child.stdin.end();
    await ended;
  };
});
