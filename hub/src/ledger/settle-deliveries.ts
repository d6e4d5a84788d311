import type { BatchStatement } from "./group-commit.js";
import { isByKeyOf, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface SettledDelivery {
  readonly sessionId: string;
  readonly delivery: number;
}

const settleText = `
delete from delivery d using unnest($1::uuid[], $2::bigint[]) as i (session_id, delivery)
where ${isByKeyOf("d", "i", "session_id", "delivery")}`;

/**
 * Forgets deliveries all of whose jobs are done. Few at a time: nobody waits for it, but what comes after it on the
 * writer's connection waits until it is done.
 */
export const settleDeliveries: BatchStatement<SettledDelivery, true> = {
  name: "settle_deliveries",
  itemsMax: 128,
  bytesMax: 1 << 20,
  bytesOf: () => 32,
  run: async (on, items) => {
    await on.connection.query({
      name: "settle_deliveries",
      text: settleText,
      values: [
        uuidArray(items.map(({ sessionId }) => sessionId)),
        numberArray(items.map(({ delivery }) => delivery)),
      ],
    });
    return { results: items.map(() => true), wrotePage: false };
  },
};
