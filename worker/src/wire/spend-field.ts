import { putVarint, varintLength } from "./byte-writer.js";

/** What an attempt has spent. */
export type Spent = { readonly costMicroUsd: number; readonly tokens: number };

export const nothingSpent: Spent = { costMicroUsd: 0, tokens: 0 };

/** Tags: JobResult.spend, then of Spend. */
const spendTag = 0x22;
const costTag = 0x08;
const tokensTag = 0x10;

/** The field JobResult.spend, with its tag. */
export function spendField({ costMicroUsd, tokens }: Spent): Buffer {
  const length = 2 + varintLength(costMicroUsd) + varintLength(tokens);
  const field = Buffer.allocUnsafe(2 + length);
  field[0] = spendTag;
  field[1] = length;
  field[2] = costTag;
  let pos = putVarint(field, 3, costMicroUsd);
  field[pos++] = tokensTag;
  pos = putVarint(field, pos, tokens);
  return field.subarray(0, pos);
}
