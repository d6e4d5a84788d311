import { metrics } from "@opentelemetry/api";
import type { SignalObserver } from "./signal-observer.js";
import type { SignalServices } from "./signal-services.js";

/** Counts what is published, delivered and dropped. */
export function signalMetrics(): SignalObserver {
  const meter = metrics.getMeter("holdfast");
  const published = meter.createCounter("holdfast.signals.published", {
    description: "Signals with a receipt, by whether they had been stored before",
  });
  const delivered = meter.createCounter("holdfast.signals.delivered", {
    description: "Signals sent to subscribers, by whether they had been delivered before",
  });
  const dropped = meter.createCounter("holdfast.signals.dropped", {
    description: "Signals that were not stored or not delivered, by reason",
  });
  return {
    published: (signals, isDuplicate) => published.add(signals, { duplicate: isDuplicate }),
    delivered: (signals, isRedelivered) => delivered.add(signals, { redelivered: isRedelivered }),
    dropped: (signals, reason) => dropped.add(signals, { reason }),
  };
}

/** Gauges of signals that are read when somebody scrapes. */
export function watchSignals({ signals, publishers }: Pick<SignalServices, "signals" | "publishers">): void {
  const meter = metrics.getMeter("holdfast");
  meter
    .createObservableGauge("holdfast.signals.streams", {
      description: "Publish and Subscribe streams, by kind",
    })
    .addCallback((gauge) => {
      gauge.observe(publishers.streams, { kind: "publish" });
      gauge.observe(signals.streams, { kind: "subscribe" });
    });
  meter
    .createObservableGauge("holdfast.signals.lag", {
      description: "Signals published and not sent yet, of the subscriber that is furthest behind",
    })
    .addCallback((gauge) => gauge.observe(signals.lagMax));
  meter
    .createObservableGauge("holdfast.signals.waiting_bytes", {
      description: "Published bytes waiting for the ledger",
      unit: "By",
    })
    .addCallback((gauge) => gauge.observe(publishers.waitingBytes));
}
