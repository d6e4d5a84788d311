// OpenTelemetry: metrics for Prometheus on the HTTP port, always, and by OTLP over HTTP when
// OTEL_EXPORTER_OTLP_ENDPOINT is set (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
// Other rooms know @opentelemetry/api only.
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { metrics, NodeSDK, resources } from "@opentelemetry/sdk-node";

const shutdownPatienceMs = 2_000;

export interface Telemetry {
  /** Answers a scrape in the Prometheus text format. */
  readonly serveMetrics: (request: IncomingMessage, response: ServerResponse) => void;
  stop(): Promise<void>;
}

/** Starts the SDK. Instruments must be made after this: those made before stay silent. */
export function startTelemetry(hubVersion: string): Telemetry {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const readers: metrics.IMetricReader[] = [exporter];
  if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT) readers.push(otlpReader());
  const sdk = new NodeSDK({
    resource: resources.resourceFromAttributes({
      "service.name": process.env.OTEL_SERVICE_NAME ?? "holdfast-hub",
      "service.version": hubVersion,
    }),
    metricReaders: readers,
    autoDetectResources: false,
    spanProcessors: [],
    logRecordProcessors: [],
  });
  sdk.start();
  return {
    serveMetrics: (request, response) => exporter.getMetricsRequestHandler(request, response),
    // A collector that is away would be tried again and again.
    stop: () => Promise.race([sdk.shutdown(), delay(shutdownPatienceMs, undefined, { ref: false })]),
  };
}

function otlpReader(): metrics.IMetricReader {
  const exportIntervalMillis = Number(process.env.OTEL_METRIC_EXPORT_INTERVAL) || 60_000;
  return new metrics.PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis,
    exportTimeoutMillis: Math.min(exportIntervalMillis, 30_000),
  });
}
