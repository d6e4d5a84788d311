import type { Ledger } from "../ledger/ledger.js";
import { CursorAttachments } from "./cursor-attachments.js";
import { DeadLetters, type MarkDead } from "./dead-letters.js";
import type { Peers } from "./peers.js";
import { SignalChannels } from "./signal-channels.js";
import { SignalGroups } from "./signal-groups.js";
import type { SignalObserver } from "./signal-observer.js";
import { SignalOperations } from "./signal-operations.js";
import { SignalPublishers } from "./signal-publishers.js";
import { SignalRelay } from "./signal-relay.js";
import { SignalRetention } from "./signal-retention.js";
import { SignalRouter } from "./signal-router.js";
import { Signals } from "./signals.js";

export interface SignalLimits {
  readonly channelsPerTenantMax: number;
  readonly signalStreamsMax: number;
  readonly signalWaitingBytesMax: number;
  readonly signalTrimIntervalMs: number;
}

export type SignalServices = ReturnType<typeof signalServices>;

/** Everything that a hub does about signals, put together. */
export function signalServices(
  { signals: ledger }: Pick<Ledger, "signals">,
  peers: Pick<Peers, "count" | "signalsStored">,
  limits: SignalLimits,
  markDead: MarkDead,
  observer: SignalObserver,
  onTrouble: (error: unknown) => void,
) {
  const relay = new SignalRelay(peers);
  const router = new SignalRouter(ledger, relay.stored.bind(relay), onTrouble);
  const channels = new SignalChannels(ledger, limits.channelsPerTenantMax);
  const attachments = new CursorAttachments(ledger, router, observer, onTrouble);
  const groups = new SignalGroups(ledger, attachments, onTrouble);
  const deadLetters = new DeadLetters(ledger, channels, router, markDead);
  const parts = { channels, attachments, groups, deadLetters };
  const signals = new Signals(parts, limits.signalStreamsMax, observer);
  const publishers = new SignalPublishers(ledger, channels, router, limits, observer);
  const operations = new SignalOperations(ledger, channels, attachments);
  const retention = new SignalRetention(ledger, limits.signalTrimIntervalMs, onTrouble);
  const rounds = [router, attachments, groups, retention];
  return {
    router,
    channels,
    signals,
    publishers,
    operations,
    keysInUse: () => [...signals.keysInUse(), ...publishers.keysInUse()],
    endKey(keyId: string): void {
      signals.endKey(keyId);
      publishers.endKey(keyId);
    },
    /** Ends every stream in good order. */
    endAll(): void {
      publishers.endAll();
      signals.endAll();
    },
    start(): void {
      for (const one of rounds) one.start();
    },
    async stop(): Promise<void> {
      relay.stop();
      await Promise.all(rounds.map((one) => one.stop()));
    },
  };
}
