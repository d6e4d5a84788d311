import type { ChannelName } from "../domain/channel.js";
import type { CursorView } from "../domain/cursor.js";
import { Fault } from "../domain/fault.js";
import { operatorBecause } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import type { SignalPage } from "../domain/signal-page.js";
import type { SignalLedger } from "../ledger/signal-ledger.js";
import { type CursorAttachments, tooOld } from "./cursor-attachments.js";
import type { SignalChannels } from "./signal-channels.js";

const listBytes = 1 << 20;

/** What operators see of signals and cursors, and do with them. */
export class SignalOperations {
  readonly #ledger: Pick<SignalLedger, "listCursors" | "resetCursor" | "readSignals">;
  readonly #channels: SignalChannels;
  readonly #attachments: CursorAttachments;

  constructor(
    ledger: Pick<SignalLedger, "listCursors" | "resetCursor" | "readSignals">,
    channels: SignalChannels,
    attachments: CursorAttachments,
  ) {
    this.#ledger = ledger;
    this.#channels = channels;
    this.#attachments = attachments;
  }

  async cursors(
    principal: Principal,
    name: ChannelName,
    after: { readonly partition: number; readonly consumer: string },
    limit: number,
  ): Promise<CursorView[]> {
    const { channelId } = await this.#channels.find(principal, name);
    return await this.#ledger.listCursors(channelId, after, limit);
  }

  async resetCursor(
    principal: Principal,
    name: ChannelName,
    reset: {
      readonly consumer: string;
      readonly partition: number;
      readonly ackedThrough: number;
      readonly reason: string;
    },
  ): Promise<CursorView> {
    const { channel, heads } = await this.#channels.held(principal, name);
    const { channelId } = channel;
    const head = heads.find(({ partition }) => partition === reset.partition);
    if (head && reset.ackedThrough < head.firstSequence - 1)
      throw tooOld(reset.ackedThrough + 1, head.firstSequence);
    if (head && reset.ackedThrough > head.lastSequence)
      throw new Fault("ACK_BEYOND_SENT", `The last signal published is ${head.lastSequence}.`, {
        sequence: String(reset.ackedThrough),
        last: String(head.lastSequence),
      });
    const operator = operatorBecause(principal, reset.reason);
    const moved = await this.#ledger.resetCursor(operator, { channelId, ...reset });
    if (!moved)
      throw new Fault("CURSOR_NOT_FOUND", `Consumer ${reset.consumer} has no cursor in this partition.`, {
        consumer: reset.consumer,
        partition: String(reset.partition),
      });
    this.#attachments.wasReset(moved.cursorId);
    return moved;
  }

  /** Signals that are held, from a sequence on; 0 is the first held. */
  async list(
    principal: Principal,
    name: ChannelName,
    partition: number,
    from: number,
  ): Promise<readonly SignalPage[]> {
    const { channel, heads } = await this.#channels.held(principal, name);
    const head = heads.find((one) => one.partition === partition);
    if (!head)
      throw new Fault("INVALID_FIELD", `The channel has ${channel.partitions} partitions.`, {
        field: "partition",
      });
    if (from > 0 && from < head.firstSequence) throw tooOld(from, head.firstSequence);
    const first = Math.max(from, head.firstSequence);
    return await this.#ledger.readSignals(channel.channelId, partition, first, listBytes);
  }
}
