import { open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { latenciesOf } from "./statistics.js";

export interface DiskFacts {
  readonly fsyncMedianUs: number;
  readonly fsyncP99Us: number;
  /** A file system in memory, where a commit costs no disk write. */
  readonly isInMemory: boolean;
}

const pageBytes = 8_192;
const warmUpWrites = 50;
const writesMax = 2_000;
const probeMs = 1_000;
const tmpfsMagic = 0x01021994;

/**
 * What one flush costs where PostgreSQL keeps its log: overwrites a page and calls fdatasync, as pg_test_fsync does
 * for the method that PostgreSQL uses on Linux.
 */
export async function probeDisk(directory: string): Promise<DiskFacts> {
  const path = join(directory, "fsync-probe");
  const file = await open(path, "w");
  const page = Buffer.alloc(pageBytes, 0x5a);
  const tookUs: number[] = [];
  try {
    const giveUpAt = performance.now() + probeMs;
    for (let writes = 0; writes < writesMax && performance.now() < giveUpAt; writes += 1) {
      const startedAt = performance.now();
      await file.write(page, 0, pageBytes, 0);
      await file.datasync();
      if (writes >= warmUpWrites) tookUs.push((performance.now() - startedAt) * 1_000);
    }
  } finally {
    await file.close();
    await rm(path);
  }
  const { p50, p99 } = latenciesOf(tookUs.length > 0 ? tookUs : [probeMs * 1_000]);
  return {
    fsyncMedianUs: Math.round(p50),
    fsyncP99Us: Math.round(p99),
    isInMemory: (await statfs(directory)).type === tmpfsMagic,
  };
}
