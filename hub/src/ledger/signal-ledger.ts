// What the ledger does for signals: statements that many streams share go through the group commit, the others
// through the pool.
import type { ChannelName, ChannelPolicy } from "../domain/channel.js";
import type { Operator } from "../domain/operation.js";
import * as channels from "./channels.js";
import { burySignals, type FailItem, type FailResult, noteFailures } from "./fail-signals.js";
import type { GroupCommit } from "./group-commit.js";
import { type MoveItem, type MoveResult, moveCursors } from "./move-cursors.js";
import { type PublishItem, type PublishResult, publishSignals } from "./publish-signals.js";
import type { ReadPool } from "./read-pool.js";
import { readSignals } from "./read-signals.js";
import * as cursors from "./signal-cursors.js";
import { type GroupMember, removeMember, renewMembers } from "./signal-members.js";
import * as producers from "./signal-producers.js";
import * as trims from "./trim-signals.js";

export type SignalLedger = ReturnType<typeof signalLedger>;

export function signalLedger(
  writes: GroupCommit,
  db: ReadPool,
  patience: { callMs: number; streamMs: number },
) {
  const one = async <Result>(results: Promise<readonly Result[]>): Promise<Result> =>
    (await results)[0] as Result;
  return {
    readChannel: (tenantId: number, channel: ChannelName) => channels.readChannel(db, tenantId, channel),
    insertChannel: (
      tenantId: number,
      channel: ChannelName,
      partitions: number,
      policy: ChannelPolicy,
      operator: Operator | null,
    ) => channels.insertChannel(db, tenantId, channel, partitions, policy, operator),
    configureChannel: (operator: Operator, channelId: number, policy: ChannelPolicy) =>
      channels.configureChannel(db, operator, channelId, policy),
    listChannels: (tenantId: number, afterId: number, limit: number) =>
      channels.listChannels(db, tenantId, afterId, limit),
    countOwned: (tenantId: number, owner: Pick<ChannelName, "ownerType" | "owner">, limit: number) =>
      channels.countOwned(db, tenantId, owner, limit),
    countChannels: (tenantId: number, limit: number) => channels.countChannels(db, tenantId, limit),
    readHeads: (channelIds: readonly number[]) => channels.readHeads(db, channelIds),

    openProducer: (channelId: number, name: string) => producers.openProducer(db, channelId, name),
    findNumbers: (producerId: number, partitions: number, numbers: readonly number[]) =>
      producers.findNumbers(db, producerId, partitions, numbers),
    publish: (item: PublishItem): Promise<PublishResult> =>
      one(writes.commit(publishSignals, [item], patience.streamMs)) as Promise<PublishResult>,
    readSignals: (channelId: number, partition: number, from: number, bytes: number) =>
      readSignals(db, channelId, partition, from, bytes),

    attachCursor: (channelId: number, partition: number, consumer: string, start: cursors.CursorStart) =>
      cursors.attachCursor(db, channelId, partition, consumer, start),
    readCheckpoint: (cursorId: number) => cursors.readSignalCheckpoint(db, cursorId),
    readFailedSignals: (cursorId: number) => cursors.readFailedSignals(db, cursorId),
    findSuperseded: (attached: readonly { readonly cursorId: number; readonly epoch: number }[]) =>
      cursors.findSuperseded(db, attached),
    listCursors: (channelId: number, after: Parameters<typeof cursors.listCursors>[2], limit: number) =>
      cursors.listCursors(db, channelId, after, limit),
    resetCursor: (operator: Operator, reset: Parameters<typeof cursors.resetCursor>[2]) =>
      cursors.resetCursor(db, operator, reset),
    moveCursor: (item: MoveItem): Promise<MoveResult> =>
      one(writes.commit(moveCursors, [item], patience.streamMs)) as Promise<MoveResult>,
    failSignal: (item: FailItem): Promise<FailResult> =>
      one(
        writes.commit(item.deadLetter ? burySignals : noteFailures, [item], patience.streamMs),
      ) as Promise<FailResult>,

    renewMembers: (members: readonly GroupMember[], ttlMs: number) => renewMembers(db, members, ttlMs),
    removeMember: (member: GroupMember) => removeMember(db, member),

    listTrimCandidates: (after: Parameters<typeof trims.listTrimCandidates>[1], limit: number) =>
      trims.listTrimCandidates(db, after, limit),
    readOldestPages: (channelId: number, partition: number, limit: number) =>
      trims.readOldestPages(db, channelId, partition, limit),
    trim: (channelId: number, partition: number, through: number, pastCursors: boolean) =>
      trims.trimSignals(db, channelId, partition, through, pastCursors),
  };
}
