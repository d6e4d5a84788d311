import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ProductServiceSetWeightsRequest,
  ScoreWeight,
} from "@holdfast/gen/holdfast/v1/product_service_pb";
import { expect, test } from "vitest";
import { EXIT } from "../src/exit-codes.js";
import { withHub } from "./with-hub.js";

const defaults = { age: 1, priority: 10, retries: -2, capabilities: 5 };

test("products ls and get show the weights in force, and which are a product's own", async () => {
  const reports = {
    name: "reports",
    weights: { priority: 0 },
    effectiveWeights: { ...defaults, priority: 0 },
    changedAt: timestampFromMs(Date.now() - 60_000),
  };
  const cli = await withHub({
    products: {
      list: () => ({ products: [reports] }),
      get: ({ name }) => ({ product: { name, effectiveWeights: defaults } }),
    },
  });

  expect((await cli("products", "ls")).stdout).toMatch(/reports +1 +0\* +-2 +5 +1 min ago/);
  expect((await cli("products", "get", "other")).stdout).toMatch(/priority +10\n/);
  expect(JSON.parse((await cli("products", "get", "other", "--json")).stdout)).toEqual({
    product: { name: "other", effectiveWeights: defaults },
  });
});

test("products set sends what was said, and nothing else", async () => {
  const requests: ProductServiceSetWeightsRequest[] = [];
  const cli = await withHub({
    products: {
      setWeights: (request) => {
        requests.push(request);
        return { product: { name: request.name, effectiveWeights: defaults } };
      },
    },
  });

  const args =
    "products set reports --age -0.5 --retries 0 --clear priority,capabilities --reason why --ticket T-1";
  expect(await cli(...args.split(" "))).toMatchObject({ exitCode: EXIT.ok });

  expect(requests).toMatchObject([
    {
      name: "reports",
      weights: { age: -0.5, retries: 0 },
      clear: [ScoreWeight.PRIORITY, ScoreWeight.CAPABILITIES],
      justification: { reason: "why", ticket: "T-1" },
    },
  ]);
  expect(requests[0]?.weights?.priority).toBeUndefined();
});

test.each([["--age", "1001"], ["--priority", "much"], ["--clear", "fairness"], []])(
  "products set %s %s is refused without a call",
  async (...args) => {
    const cli = await withHub({});

    expect(await cli("products", "set", "reports", ...args)).toMatchObject({ exitCode: EXIT.usage });
  },
);
