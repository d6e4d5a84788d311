import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import type { DiskFacts } from "./fsync-probe.js";
import type { ProcessorFacts } from "./processor-probe.js";
import { formatMs } from "./table.js";

/** Where the figures were taken: they mean nothing without it. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly postgres: string;
  readonly disk: DiskFacts;
  readonly processor: { readonly before: ProcessorFacts; readonly after: ProcessorFacts };
}

export function describeMachine(postgres: string, disk: DiskFacts, processor: Machine["processor"]): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    kernel: `${type()} ${release()}`,
    node: process.version,
    postgres,
    disk,
    processor,
  };
}

export function machineLines(machine: Machine): string[] {
  const { cpu, cores, memoryGiB, kernel, node, postgres, disk, processor } = machine;
  const inMemory = disk.isInMemory ? ", IN MEMORY: these figures say nothing about a disk" : "";
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${kernel}`,
    `Node ${node}, PostgreSQL ${postgres}`,
    `fdatasync of 8 KiB: median ${disk.fsyncMedianUs} µs, p99 ${disk.fsyncP99Us} µs${inMemory}`,
    `the same work again and again: ${workText(processor.before)} before, ${workText(processor.after)} after`,
  ];
}

function workText({ workMedianMs, workP99Ms }: ProcessorFacts): string {
  return `median ${formatMs(workMedianMs)}, p99 ${formatMs(workP99Ms)}`;
}
