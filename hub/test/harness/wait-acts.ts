import { v7 as uuidv7 } from "uuid";
import { OwnerType } from "../../src/domain/channel.js";
import type { GrantedLease } from "../../src/domain/lease.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import type { PublishItem } from "../../src/ledger/publish-signals.js";
import type { WaitItem, WaitResult } from "../../src/ledger/wait-for-signals.js";
import { anybody, named, openSignalStack, recordOf } from "./signal-stack.js";

/** A channel with a producer that publishes one signal at a time. */
export async function openChannel(ledger: Ledger, jobId: string | null = null, name: string = uuidv7()) {
  const stack = openSignalStack(ledger);
  const channel = jobId === null ? named(name) : { ownerType: OwnerType.Job, owner: jobId, name };
  const { channelId } = await stack.channels.ensure(anybody, channel);
  return {
    channelId,
    /** One more producer, here or on another hub; of a job while it is leased. */
    async producer(on: Ledger = ledger, lease: PublishItem["lease"] = null) {
      const { producerId, epoch } = await on.signals.openProducer(channelId, uuidv7());
      let number = 0;
      return async (): Promise<number> => {
        number += 1;
        const result = await on.signals.publish({
          channelId,
          producerId,
          epoch,
          previousNumber: number - 1,
          lastNumber: number,
          parts: [{ partition: 0, numbers: [number], body: recordOf(number) }],
          lease,
        });
        if (result.type !== "stored") throw new Error(`not stored: ${result.type}`);
        return result.firstSequences[0] as number;
      };
    },
  };
}

export function waitItem(
  sessionId: string,
  { jobId, fencingToken }: Pick<GrantedLease, "jobId" | "fencingToken">,
  channelId: number,
  more: Partial<WaitItem> = {},
): WaitItem {
  return {
    jobId,
    sessionId,
    fencingToken,
    channelId,
    partition: 0,
    afterSequence: 0,
    timeoutMs: null,
    ...more,
  };
}

export async function waitOn(ledger: Ledger, item: WaitItem): Promise<WaitResult["type"]> {
  return (await ledger.waitForSignal(item)).type;
}
