import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ProductSchema,
  ProductService,
  type ProductServiceSetWeightsRequest,
  ScoreWeight,
} from "@holdfast/gen/holdfast/v1/product_service_pb";
import type { Product, WeightChange } from "../domain/product.js";
import { defaultScoreWeights, mergeWeights, type ScoreWeights } from "../domain/score-weights.js";
import type { Products } from "../services/products.js";
import { checkEnum, checkName, checkPageSize, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { optionalTime } from "./job-messages.js";
import { toOperator } from "./operation-service.js";
import { decodePageToken, encodePageToken } from "./page-token.js";
import { toWeights, toWeightsMessage } from "./score-messages.js";

export function productService(products: Products): ImplementedService {
  return implement(ProductService, {
    async get({ name }, { principal }) {
      return { product: toProductMessage(await products.get(principal, checkName("name", name))) };
    },

    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["products", principal.tenantId];
      const after = request.pageToken ? decodePageToken(request.pageToken, listed) : "";
      const found = await products.list(principal, after, limit);
      const last = found.at(-1);
      return {
        products: found.map(toProductMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(last.name, listed),
      };
    },

    async setWeights(request, { principal }) {
      const name = checkName("name", request.name);
      const operator = toOperator(principal, request.justification, "optional");
      return { product: toProductMessage(await products.setWeights(operator, name, toChange(request))) };
    },
  });
}

const weightNumbers = {
  age: ScoreWeight.AGE,
  priority: ScoreWeight.PRIORITY,
  retries: ScoreWeight.RETRIES,
  capabilities: ScoreWeight.CAPABILITIES,
} as const satisfies Record<keyof ScoreWeights, ScoreWeight>;

function toChange({ weights, clear }: ProductServiceSetWeightsRequest): WeightChange {
  const set = toWeights(weights, "weights");
  const cleared = clear.map((number, at) => {
    const known = checkEnum(`clear[${at}]`, number, weightNumbers, null);
    const [name] = Object.entries(weightNumbers).find(([, value]) => value === known) ?? [];
    return name as keyof ScoreWeights;
  });
  if (cleared.some((name) => set[name] !== undefined))
    throw invalid("clear", "must not name a weight that is set");
  if (cleared.length === 0 && Object.keys(set).length === 0)
    throw invalid("weights", "must set or clear something");
  return { set, clear: [...new Set(cleared)] };
}

function toProductMessage(product: Product): MessageInitShape<typeof ProductSchema> {
  return {
    name: product.name,
    weights: toWeightsMessage(product.weights),
    effectiveWeights: toWeightsMessage(mergeWeights(defaultScoreWeights, product.weights)),
    ...optionalTime("changedAt", product.changedAtMs),
  };
}
