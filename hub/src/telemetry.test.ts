import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import { metrics } from "@opentelemetry/api";
import { afterEach, expect, it, vi } from "vitest";
import { startTelemetry } from "./telemetry.js";

afterEach(() => vi.unstubAllEnvs());

it("metrics are exported by OTLP to the endpoint that the environment names", async () => {
  const collector = http.createServer((request, response) => {
    request.resume();
    response.end();
  });
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  const { port } = collector.address() as net.AddressInfo;
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", `http://127.0.0.1:${port}`);
  vi.stubEnv("OTEL_METRIC_EXPORT_INTERVAL", "50");
  const asked = once(collector, "request");

  const telemetry = startTelemetry("test");
  metrics.getMeter("test").createCounter("tests").add(1);
  const [request] = (await asked) as [http.IncomingMessage];

  expect([request.method, request.url]).toEqual(["POST", "/v1/metrics"]);
  await telemetry.stop();
  collector.close();
});
