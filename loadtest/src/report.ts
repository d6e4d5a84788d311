import { mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Findings } from "./benchmark.js";
import { type Machine, machineLines } from "./machine.js";
import { formatTable } from "./table.js";

export interface Report extends Findings {
  readonly benchmark: string;
  readonly startedAt: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly machine: Machine;
  /** Of the server that all contestants use. */
  readonly postgresSettings: Readonly<Record<string, string>>;
}

/** The report for people: Markdown that also reads well in a terminal. */
export function reportText({ benchmark, startedAt, options, machine, table, notes }: Report): string {
  const given = Object.entries(options).flatMap(([name, value]) =>
    value === null ? [] : [`${name} ${value}`],
  );
  const facts = [...machineLines(machine), `${startedAt}, ${given.join(", ")}`];
  return [
    `## ${benchmark}`,
    facts.map((line) => `- ${line}`).join("\n"),
    formatTable(table),
    notes.join("\n"),
    "",
  ].join("\n\n");
}

/** Writes the JSON, and the text beside it; answers both paths. */
export async function writeReport(report: Report, base: string): Promise<string[]> {
  const files = [
    { path: resolve(`${base}.json`), text: `${JSON.stringify(report, null, 2)}\n` },
    { path: resolve(`${base}.md`), text: `${reportText(report).trimEnd()}\n` },
  ];
  await mkdir(dirname(resolve(base)), { recursive: true });
  for (const { path, text } of files) await writeFile(path, text);
  return files.map(({ path }) => path);
}
