import type { BatchStatement } from "./group-commit.js";
import { isByKey, numberArray } from "./sql-text.js";
import { uuidArray } from "./uuid-array.js";

export interface Acknowledgement {
  readonly sessionId: string;
  readonly epoch: number;
  readonly deliveredThrough: number;
}

const saveText = `
update session s set delivered_through = greatest(s.delivered_through, i.delivered_through)
from (
  select session_id, epoch, max(delivered_through) as delivered_through
  from unnest($1::uuid[], $2::integer[], $3::bigint[]) as u (session_id, epoch, delivered_through) group by 1, 2
) i
where ${isByKey("s.session_id", "i.session_id")} and s.epoch = i.epoch`;

/** How far workers had acknowledged, without renewing their sessions; also of sessions that have just run out. */
export const saveAcknowledgements: BatchStatement<Acknowledgement, true> = {
  name: "save_acknowledgements",
  itemsMax: 500,
  bytesMax: 1 << 20,
  bytesOf: () => 32,
  run: async (on, items) => {
    await on.connection.query({
      name: "save_acknowledgements",
      text: saveText,
      values: [
        uuidArray(items.map(({ sessionId }) => sessionId)),
        numberArray(items.map(({ epoch }) => epoch)),
        numberArray(items.map(({ deliveredThrough }) => deliveredThrough)),
      ],
    });
    return { results: items.map(() => true), wrotePage: false };
  },
};
