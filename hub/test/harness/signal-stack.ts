import { type ChannelName, OwnerType } from "../../src/domain/channel.js";
import { type Principal, scopes } from "../../src/domain/scope.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { markDead } from "../../src/rpc/signal-messages.js";
import type { SubscriptionMessage } from "../../src/services/signal-messages.js";
import { signalServices } from "../../src/services/signal-services.js";
import type { SignalSubscription } from "../../src/services/signal-subscription.js";
import { until } from "./raw-wait.js";

export const anybody: Principal = {
  tenantId: 1,
  tenant: "default",
  subject: "",
  keyId: "",
  scopes: new Set(scopes),
  kinds: null,
};

const quiet = { delivered: () => undefined, dropped: () => undefined, published: () => undefined };
const nobody = { count: 0, signalsStored: () => undefined };
const limits = {
  channelsPerTenantMax: 100_000,
  signalStreamsMax: 1_000,
  signalWaitingBytesMax: 64 << 20,
  signalTrimIntervalMs: 60_000,
};

/** What one hub has for signals, on a ledger: a crash is to forget it. */
export function openSignalStack(ledger: Pick<Ledger, "signals">) {
  return signalServices(ledger, nobody, limits, markDead, quiet, () => undefined);
}
export type SignalStack = ReturnType<typeof openSignalStack>;

export function named(name: string): ChannelName {
  return { ownerType: OwnerType.Name, owner: "default", name };
}

/** A record that holds nothing but a number: field 4, a length, and field 1. */
export function recordOf(number: number): Uint8Array {
  return Uint8Array.from([0x22, 2, 0x08, number & 0x7f]);
}

/** What a consumer was told, as it comes. */
export interface Told {
  readonly subscription: SignalSubscription;
  readonly messages: SubscriptionMessage[];
  /** Sequences sent, with their marks, in order. */
  sent(): { sequence: number; isRedelivered: boolean }[];
  told<Type extends SubscriptionMessage["type"]>(
    type: Type,
    isWanted?: (message: Extract<SubscriptionMessage, { type: Type }>) => boolean,
  ): Promise<Extract<SubscriptionMessage, { type: Type }>>;
}

export async function consume(stack: SignalStack, name: string, consumer = "reader"): Promise<Told> {
  const subscription = await stack.signals.subscribe(anybody, {
    channel: named(name),
    consumer,
    isMember: false,
    start: { type: "cursor" },
    partitions: null,
  });
  const messages: SubscriptionMessage[] = [];
  const reading = (async () => {
    for await (const message of subscription.messages()) messages.push(message);
  })();
  reading.catch(() => undefined);
  return {
    subscription,
    messages,
    sent: () =>
      messages.flatMap((message) =>
        message.type === "signals"
          ? message.pages.flatMap(({ firstSequence, lastSequence }) =>
              Array.from({ length: lastSequence - firstSequence + 1 }, (_, at) => ({
                sequence: firstSequence + at,
                isRedelivered: message.isRedelivered,
              })),
            )
          : [],
      ),
    told: (type, isWanted = () => true) =>
      until(
        () =>
          messages.find(
            (message): message is Extract<SubscriptionMessage, { type: typeof type }> =>
              message.type === type && isWanted(message as never),
          ),
        `told ${type}`,
      ),
  };
}
