// Latencies of the last seconds. Bounded: at high rates it keeps an even share of them, as many as it has room for.
import { percentileOf } from "../statistics.js";

const samplesMax = 200_000;

export interface LatencyWindow {
  add(atMs: number, latencyMs: number): void;
  /** Percentiles of what came since, or null when nothing did; what is older is forgotten. */
  read(nowMs: number): { readonly p50: number; readonly p95: number; readonly p99: number } | null;
}

export function latencyWindow(windowMs: number): LatencyWindow {
  let samples: { readonly atMs: number; readonly latencyMs: number }[] = [];
  /** Every so many is kept. */
  let stride = 1;
  let seen = 0;
  const forget = (nowMs: number) => {
    samples = samples.filter(({ atMs }) => atMs > nowMs - windowMs);
  };
  return {
    add: (atMs, latencyMs) => {
      seen += 1;
      if (seen % stride !== 0) return;
      samples.push({ atMs, latencyMs });
      if (samples.length < samplesMax) return;
      forget(atMs);
      if (samples.length < samplesMax / 2) return;
      samples = samples.filter((_, at) => at % 2 === 0);
      stride *= 2;
    },
    read: (nowMs) => {
      forget(nowMs);
      if (samples.length === 0) return null;
      if (samples.length < samplesMax / 4 && stride > 1) stride /= 2;
      const sorted = samples.map(({ latencyMs }) => latencyMs).toSorted((a, b) => a - b);
      return {
        p50: percentileOf(sorted, 0.5),
        p95: percentileOf(sorted, 0.95),
        p99: percentileOf(sorted, 0.99),
      };
    },
  };
}
