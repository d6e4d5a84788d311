import { metrics } from "@opentelemetry/api";
import { type Gate, gateTypeName, type RateGate } from "../domain/gate.js";

/** Gauges of what holds work back. */
export function watchGates(
  gates: { readonly all: () => Iterable<Gate> },
  isShut: (gate: Gate) => boolean,
): void {
  metrics
    .getMeter("holdfast")
    .createObservableGauge("holdfast.gates", { description: "Gates, by type and by whether they are shut" })
    .addCallback((gauge) => {
      const counts = new Map<string, { type: string; state: string; gates: number }>();
      for (const gate of gates.all()) {
        const [type, state] = [gateTypeName(gate.type), isShut(gate) ? "shut" : "open"];
        const count = counts.get(`${type} ${state}`) ?? { type, state, gates: 0 };
        count.gates += 1;
        counts.set(`${type} ${state}`, count);
      }
      for (const { gates, ...labels } of counts.values()) gauge.observe(gates, labels);
    });
}

/** Counts what operators are told of budgets. */
export function budgetCounter(): (notice: string) => void {
  const counter = metrics.getMeter("holdfast").createCounter("holdfast.budget.notices", {
    description: "Budgets that were found nearly spent, or spent, once per window",
  });
  return (notice) => counter.add(1, { notice });
}

/** Counts jobs that a claim stopped at a gate. */
export function gateStopCounter(): (gate: string) => void {
  const counter = metrics.getMeter("holdfast").createCounter("holdfast.gate.stops", {
    description: "Jobs that were parked when they were claimed, by the type of the gate",
  });
  return (gate) => counter.add(1, { gate });
}

/** Counts jobs whose seat a critical job took. */
export function preemptionCounter(): () => void {
  const counter = metrics.getMeter("holdfast").createCounter("holdfast.preemptions", {
    description: "Leases that were ended for a critical job",
  });
  return () => counter.add(1);
}

/** What rate gates are watched by. */
export function rateMetrics() {
  const meter = metrics.getMeter("holdfast");
  const tokens = meter.createCounter("holdfast.rates.tokens", {
    description:
      "Starts that this hub drew from rate gates, by type of gate and outcome: granted, returned (unused)",
  });
  const draws = meter.createCounter("holdfast.rates.draws", {
    description: "Draws of this hub from rate gates, by type of gate and outcome: granted, nothing",
  });
  const turns = meter.createCounter("holdfast.breakers.turns", {
    description: "Breakers that this hub's draws turned, by phase: open, half_open, closed",
  });
  return {
    drawn: (type: RateGate["type"], granted: number, returned: number) => {
      const gate = gateTypeName(type);
      draws.add(1, { gate, outcome: granted > 0 ? "granted" : "nothing" });
      if (granted > 0) tokens.add(granted, { gate, outcome: "granted" });
      if (returned > 0) tokens.add(returned, { gate, outcome: "returned" });
    },
    turned: (phase: string) => turns.add(1, { phase }),
  };
}
