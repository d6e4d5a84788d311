import type { MessageInitShape } from "@bufbuild/protobuf";
import { Start, type SubscribeOpenSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { type ChannelName, channelRef } from "./channel-name.js";
import type { ReceivedSignal } from "./received-signal.js";

/** Handles one signal. What it throws makes the signal come again later. */
export type SignalHandler = (signal: ReceivedSignal) => void | Promise<void>;

/**
 * Makes the next state out of a signal and the state before it. When it throws, everything since the last saved state
 * comes again; when the same signal fails too often, the subscription ends with its error.
 */
export type SignalReducer<State> = (signal: ReceivedSignal, state: State) => State | Promise<State>;

export type SubscribeOptions = {
  /** The consumer's name: the hub remembers how far it got. Without one, nothing is remembered. */
  readonly consumer?: string;
  /** Where a consumer begins that has no place yet. Default "earliest"; without a consumer's name "latest". */
  readonly start?: "earliest" | "latest" | { readonly at: number };
  /** Only these partitions. Default all. */
  readonly partitions?: readonly number[];
  /**
   * Share the partitions with the other members of this consumer: each is served by one member at a time, and another
   * takes over what a lost member had.
   */
  readonly group?: boolean;
  /** Stops the subscription. */
  readonly signal?: AbortSignal;
  /** Called for signals that will not come: trimmed, dropped, or in the dead-letter channel (D15). */
  readonly onGap?: (gap: { partition: number; first: number; last: number; reason: string }) => void;
  /** Called when everything that was stored at the attach has been handled. */
  readonly onCaughtUp?: (partition: number) => void;
};

export type CheckpointOptions<State> = SubscribeOptions & {
  readonly consumer: string;
  readonly checkpoint: {
    /** The state before the first signal. States are stored as JSON, one for each partition. */
    readonly initial: () => State;
    /** Save after so many signals. Default 1,000. */
    readonly everySignals?: number;
    /** Save after so long. Default 1,000. */
    readonly everyMs?: number;
  };
};

/** The first message of a subscription. */
export function subscribeOpen(
  channel: ChannelName,
  { consumer = "", partitions = [], start, group = false }: SubscribeOptions,
): MessageInitShape<typeof SubscribeOpenSchema> {
  return {
    channel: channelRef(channel),
    consumer,
    partitions: [...partitions],
    group,
    start: startOf(start, consumer),
    ...(typeof start === "object" && { startSequence: BigInt(start.at) }),
  };
}

function startOf(start: SubscribeOptions["start"], consumer: string): Start {
  if (typeof start === "object") return Start.AT;
  if (start === "latest") return Start.LATEST;
  if (start === "earliest") return Start.EARLIEST;
  return consumer === "" ? Start.LATEST : Start.CURSOR;
}
