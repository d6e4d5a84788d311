// OpenTelemetry: metrics for Prometheus on the HTTP port, always; traces and metrics by OTLP when
// OTEL_EXPORTER_OTLP_ENDPOINT is set (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
// Other rooms know @opentelemetry/api only.
import type { IncomingMessage, ServerResponse } from "node:http";
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { NodeSDK, resources } from "@opentelemetry/sdk-node";

export interface Telemetry {
  /** Answers a scrape in the Prometheus text format. */
  readonly serveMetrics: (request: IncomingMessage, response: ServerResponse) => void;
  stop(): Promise<void>;
}

/** Starts the SDK. Instruments must be made after this: those made before stay silent. */
export function startTelemetry(hubVersion: string): Telemetry {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const isExporting = Boolean(process.env.OTEL_EXPORTER_OTLP_ENDPOINT);
  const sdk = new NodeSDK({
    resource: resources.resourceFromAttributes({
      "service.name": process.env.OTEL_SERVICE_NAME ?? "holdfast-hub",
      "service.version": hubVersion,
    }),
    metricReaders: [exporter],
    autoDetectResources: false,
    ...(!isExporting && { spanProcessors: [], logRecordProcessors: [] }),
  });
  sdk.start();
  return {
    serveMetrics: (request, response) => exporter.getMetricsRequestHandler(request, response),
    stop: () => sdk.shutdown(),
  };
}
