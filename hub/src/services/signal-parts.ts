import { partitionOf } from "../domain/channel.js";
import type { SignalPart } from "../ledger/publish-signals.js";

/** A signal on its way in: its record is as it will be stored. */
export interface NewSignal {
  readonly number: number;
  readonly key: string;
  readonly record: Uint8Array;
}

/** Signals by partition, in order. */
export function toParts(signals: readonly NewSignal[], partitions: number): SignalPart[] {
  const parts = new Map<number, { partition: number; numbers: number[]; records: Uint8Array[] }>();
  for (const { key, number, record } of signals) {
    const partition = partitionOf(key, partitions);
    let part = parts.get(partition);
    if (!part) {
      part = { partition, numbers: [], records: [] };
      parts.set(partition, part);
    }
    part.numbers.push(number);
    part.records.push(record);
  }
  return [...parts.values()].map(({ partition, numbers, records }) => ({
    partition,
    numbers,
    body: Buffer.concat(records),
  }));
}
