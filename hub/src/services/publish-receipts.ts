import type { SignalPart } from "../ledger/publish-signals.js";
import type { PublishReceipt } from "./signal-messages.js";

/** Receipts of signals that were stored from a sequence on. */
export function receiptsOf(part: SignalPart, first: number, numbers: readonly number[]): PublishReceipt[] {
  const last = numbers.at(-1) as number;
  const { partition } = part;
  // One receipt says it all, unless the numbers have gaps.
  if (last - (numbers[0] as number) === numbers.length - 1)
    return [
      {
        type: "stored",
        number: numbers[0] as number,
        count: numbers.length,
        partition,
        firstSequence: first,
        isDuplicate: false,
      },
    ];
  return numbers.map((number, at) => ({
    type: "stored",
    number,
    count: 1,
    partition,
    firstSequence: first + at,
    isDuplicate: false,
  }));
}

/** Neighbours whose numbers and sequences follow each other become one. */
export function joinReceipts(receipts: readonly PublishReceipt[]): PublishReceipt[] {
  const joined: PublishReceipt[] = [];
  for (const receipt of receipts) {
    const before = joined.at(-1);
    if (
      before?.type === "stored" &&
      receipt.type === "stored" &&
      receipt.number === before.number + before.count &&
      receipt.partition === before.partition &&
      receipt.firstSequence === before.firstSequence + before.count &&
      receipt.isDuplicate === before.isDuplicate
    )
      joined[joined.length - 1] = { ...before, count: before.count + receipt.count };
    else joined.push(receipt);
  }
  return joined;
}
