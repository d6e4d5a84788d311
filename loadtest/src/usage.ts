import { setTimeout as delay } from "node:timers/promises";
import type { Program } from "./start-program.js";
import { nowMs } from "./wall-clock.js";

/** What a process uses of the machine. */
export interface Usage {
  readonly atMs: number;
  /** Memory that is really there, all of the process. */
  readonly residentBytes: number;
  /** Objects that are in use, or were at the last collection. */
  readonly heapBytes: number;
  /** Processor time since its start, all threads, in the kernel too. */
  readonly cpuMs: number;
}

const answerWithinMs = 60_000;

/** Says what this process uses, every so often; answers what ends that. */
export function tellUsage(say: (what: "usage", usage: Usage) => void, everyMs: number): () => void {
  const telling = setInterval(() => say("usage", readUsage()), everyMs);
  return () => clearInterval(telling);
}

function readUsage(): Usage {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return { atMs: nowMs(), residentBytes: rss, heapBytes: heapUsed, cpuMs: (user + system) / 1_000 };
}

/** What a program uses, once `waitMs` have passed. */
export async function usageAfter(
  program: Program<{ readonly usage: Usage }>,
  waitMs: number,
): Promise<Usage> {
  await delay(waitMs);
  return await program.said("usage", answerWithinMs);
}

/** Of one core, between two readings of the same process. */
export function shareOf(from: Usage, to: Usage): number {
  return (to.cpuMs - from.cpuMs) / (to.atMs - from.atMs);
}
