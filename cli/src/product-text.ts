import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { type Product, ProductSchema } from "@holdfast/gen/holdfast/v1/product_service_pb";
import { JSON_OPTIONS } from "./job-json.js";
import { relative, time } from "./job-text.js";
import type { Paint } from "./paint.js";
import { formatFields } from "./table.js";

const WEIGHTS = ["age", "priority", "retries", "capabilities"] as const;

export const PRODUCT_HEADINGS = ["PRODUCT", ...WEIGHTS.map((name) => name.toUpperCase()), "CHANGED"] as const;

export function productRow(product: Product, nowMs: number): string[] {
  return [
    product.name,
    ...WEIGHTS.map((name) => weightText(product, name)),
    relative(product.changedAt, nowMs) || "-",
  ];
}

export function productText(product: Product, nowMs: number, paint: Paint): string {
  return formatFields(
    [
      ["product", paint.strong(product.name)],
      ...WEIGHTS.map((name): [string, string] => [name, weightText(product, name)]),
      ["changed", time(product.changedAt, nowMs)],
    ],
    paint,
  );
}

export function productJson(product: Product): JsonObject {
  return toJson(ProductSchema, product, JSON_OPTIONS) as JsonObject;
}

/** The weight in force; marked where it is the product's own. */
function weightText({ weights, effectiveWeights }: Product, name: (typeof WEIGHTS)[number]): string {
  return `${effectiveWeights?.[name] ?? "?"}${weights?.[name] === undefined ? "" : "*"}`;
}
