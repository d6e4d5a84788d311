import type { JsonValue } from "@bufbuild/protobuf";
import type { Paint } from "../paint.js";
import type { House } from "../start/house.js";
import { formatFields, formatTable } from "../table.js";

export function fleetJson({ hubs, natsUrl, logs }: House, workers: number): JsonValue {
  return {
    event: "up",
    hubs: hubs.map(({ name, grpcAddress, hubUrl }) => ({ name, grpc: grpcAddress, hub: hubUrl })),
    nats: natsUrl ?? null,
    workers,
    logs,
  };
}

/** What runs where. */
export function fleetText({ hubs, natsUrl, logs }: House, workers: number, paint: Paint): string {
  const rows = hubs.map(({ name, grpcAddress, hubUrl }) => [name, grpcAddress, hubUrl]);
  const addresses = hubs.map(({ grpcAddress }) => grpcAddress).join(",");
  const rest = formatFields(
    [
      ["NATS", natsUrl ?? "none: the hubs find each other's work in the ledger, slowly"],
      ["workers", `${workers}, each with HOLDFAST_ADDRESS=${addresses}`],
      ["logs", logs],
    ],
    paint,
  );
  return `${formatTable(["HUB", "GRPC", "HTTP"], rows, paint)}\n\n${rest}`;
}
