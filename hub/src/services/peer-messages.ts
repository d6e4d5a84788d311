import type { Bus, BusMessage, ConfigPart } from "../bus/bus.js";
import type { Access } from "./access.js";
import type { GateBook } from "./gate-book.js";
import type { JobFeed } from "./job-feed.js";
import type { KeyCheck } from "./key-check.js";
import type { LaneNews } from "./lane-news.js";
import type { LeaseCheck } from "./lease-check.js";
import type { ProductBook } from "./product-book.js";
import type { Sessions } from "./sessions.js";
import type { SignalRouter } from "./signal-router.js";

export interface PeerMessageParts {
  readonly sessions: Pick<Sessions, "revoke">;
  readonly feed: Pick<JobFeed, "changedElsewhere" | "anyChangedElsewhere">;
  readonly access: Pick<Access, "forget">;
  readonly gateBook: Pick<GateBook, "lookNow">;
  readonly laneNews: Pick<LaneNews, "wake" | "lookNow">;
  readonly productBook: Pick<ProductBook, "lookNow">;
  readonly leaseCheck: Pick<LeaseCheck, "compareAll">;
  readonly keyCheck: Pick<KeyCheck, "checkNow">;
  readonly signals: Pick<SignalRouter, "wake" | "lookNow">;
  /** Ends streams and watches of a key. */
  readonly endKey: (keyId: string) => void;
}

/**
 * Does what other hubs say and, when messages may have been lost, looks for the same in the ledger at once. Who is there
 * is for `Peers` to know.
 */
export function heedPeers(bus: Pick<Bus, "onMessage" | "onResumed">, parts: PeerMessageParts): void {
  bus.onMessage((message) => heed(message, parts));
  bus.onResumed(() => {
    parts.access.forget();
    parts.leaseCheck.compareAll();
    parts.keyCheck.checkNow();
    parts.gateBook.lookNow();
    parts.laneNews.lookNow();
    parts.productBook.lookNow();
    parts.feed.anyChangedElsewhere();
    parts.signals.lookNow();
  });
}

function heed(message: BusMessage, parts: PeerMessageParts): void {
  switch (message.type) {
    case "revoke":
      for (const { sessionId, ...lease } of message.leases) parts.sessions.revoke(sessionId, lease);
      return;
    case "jobs_changed":
      for (const jobId of message.jobIds) parts.feed.changedElsewhere(jobId);
      return;
    case "any_job_changed":
      parts.feed.anyChangedElsewhere();
      return;
    case "wake":
      parts.laneNews.wake(message.laneIds);
      return;
    case "signals_stored":
      parts.signals.wake(message.channelIds);
      return;
    case "key_revoked":
      parts.access.forget();
      parts.endKey(message.keyId);
      return;
    case "config_changed":
      configChanged(message.what, parts);
      return;
    case "here":
    case "drain":
      return;
  }
}

function configChanged(what: ConfigPart, parts: PeerMessageParts): void {
  switch (what) {
    case "keys":
      return parts.access.forget();
    case "gates":
      return parts.gateBook.lookNow();
    case "products":
      return parts.productBook.lookNow();
  }
}
