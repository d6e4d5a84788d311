import { metrics } from "@opentelemetry/api";
import type { BusObserver } from "../bus/bus.js";
import type { ForwardStatus } from "../domain/forwarded-event.js";
import type { Lanes } from "../lanes/lanes.js";
import type { LaneBook } from "./lane-book.js";
import type { Peers } from "./peers.js";
import type { Sessions } from "./sessions.js";

/** What the ledger's group commit is watched by. */
export function ledgerMetrics() {
  const meter = metrics.getMeter("holdfast");
  const items = meter.createCounter("holdfast.ledger.items", {
    description: "Items committed to the ledger, by statement",
  });
  const batches = meter.createHistogram("holdfast.ledger.batch.duration", {
    description: "Duration of a batch, by statement",
    unit: "s",
    advice: { explicitBucketBoundaries: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1] },
  });
  const disconnects = meter.createCounter("holdfast.ledger.disconnects", {
    description: "Lost connections to the ledger",
  });
  return {
    committed: (statement: string, count: number, seconds: number) => {
      items.add(count, { statement });
      batches.record(seconds, { statement });
    },
    disconnected: () => disconnects.add(1),
  };
}

/** What the bus is watched by. */
export function busMetrics(): BusObserver {
  const messages = metrics.getMeter("holdfast").createCounter("holdfast.bus.messages", {
    description: "Messages between hubs, by what became of them and by type",
  });
  return {
    sent: (type) => messages.add(1, { outcome: "sent", type }),
    dropped: (type) => messages.add(1, { outcome: "dropped", type }),
    received: (type) => messages.add(1, { outcome: "received", type }),
    malformed: () => messages.add(1, { outcome: "malformed", type: "unknown" }),
  };
}

/** Gauges of a hub in a fleet. */
export function watchPeers(peers: Peers, nats: { readonly state: { readonly status: string } } | null): void {
  const meter = metrics.getMeter("holdfast");
  meter
    .createObservableGauge("holdfast.peers", { description: "Other hubs that were heard lately" })
    .addCallback((gauge) => gauge.observe(peers.count));
  if (nats)
    meter
      .createObservableGauge("holdfast.nats.connected", { description: "1 while NATS is connected" })
      .addCallback((gauge) => gauge.observe(nats.state.status === "up" ? 1 : 0));
}

/** Gauges that are read when somebody scrapes. */
export function watchHub(
  ledger: { queuedItems: () => number; isConnected: () => boolean },
  sessions: Sessions,
  lanes: Lanes,
  book: LaneBook,
): void {
  const meter = metrics.getMeter("holdfast");
  meter
    .createObservableGauge("holdfast.streams", { description: "Live worker streams on this hub" })
    .addCallback((gauge) => gauge.observe(sessions.streams));
  meter
    .createObservableGauge("holdfast.ledger.queued_items", { description: "Writes waiting for the ledger" })
    .addCallback((gauge) => gauge.observe(ledger.queuedItems()));
  meter
    .createObservableGauge("holdfast.ledger.connected", { description: "1 while the ledger is connected" })
    .addCallback((gauge) => gauge.observe(ledger.isConnected() ? 1 : 0));
  meter
    .createObservableGauge("holdfast.lane.window", {
      description: "Refs waiting in memory, by queue and kind",
    })
    .addCallback((gauge) => {
      const windows = new Map<string, { product: string; queue: string; kind: string; refs: number }>();
      for (const { product, queue, kind, laneId } of book.all()) {
        const key = `${product}/${queue}/${kind}`;
        const sum = windows.get(key) ?? { product, queue, kind, refs: 0 };
        sum.refs += lanes.stats(laneId).window;
        windows.set(key, sum);
      }
      for (const { refs, ...labels } of windows.values()) gauge.observe(refs, labels);
    });
}

/** Gauges of fairness keys by priority class; keys themselves are no labels, for there may be any number of them. */
export function watchFairness(lanes: Pick<Lanes, "head">, book: Pick<LaneBook, "all">): void {
  const meter = metrics.getMeter("holdfast");
  const keys = meter.createObservableGauge("holdfast.fairness.keys", {
    description: "Fairness keys that have jobs waiting in memory, by priority class",
  });
  const oldest = meter.createObservableGauge("holdfast.fairness.oldest_seconds", {
    description: "For how long the oldest of their jobs has waited",
    unit: "s",
  });
  meter.addBatchObservableCallback(
    (result) => {
      const classes = new Map<number, { readonly keys: Set<string>; oldestMs: number }>();
      for (const { laneId, tenantId, priority, fairnessKey } of book.all()) {
        const head = fairnessKey === "" ? undefined : lanes.head(laneId);
        if (!head) continue;
        const found = classes.get(priority) ?? { keys: new Set(), oldestMs: head.readyAtMs };
        found.keys.add(`${tenantId} ${fairnessKey}`);
        found.oldestMs = Math.min(found.oldestMs, head.readyAtMs);
        classes.set(priority, found);
      }
      for (const [priority, { keys: waiting, oldestMs }] of classes) {
        result.observe(keys, waiting.size, { priority });
        result.observe(oldest, Math.max(0, Date.now() - oldestMs) / 1_000, { priority });
      }
    },
    [keys, oldest],
  );
}

/** What shared lanes and looks into the ledger are watched by. */
export function laneMetrics() {
  const meter = metrics.getMeter("holdfast");
  const moved = meter.createCounter("holdfast.lane.refs", {
    description:
      "Refs that went through shared lanes, by way: published, publish_failed, pulled, redelivered, handed_back",
  });
  const refilled = meter.createCounter("holdfast.lane.refilled", {
    description:
      "Refs that were read from the ledger, by reason: wanted, empty (hungry sessions found nothing), overdue, straggler",
  });
  const lost = meter.createCounter("holdfast.lane.streams_lost", {
    description:
      "Times that the shared stream was found new, so that what waited in it had to be found again",
  });
  return {
    moved: (way: string, refs: number) => moved.add(refs, { way }),
    streamLost: () => lost.add(1),
    refilled: (reason: string, refs: number) => refilled.add(refs, { reason }),
  };
}

/** What the forwarder of a sink is watched by. */
export function forwarderMetrics(sink: string) {
  const meter = metrics.getMeter("holdfast");
  const events = meter.createCounter("holdfast.forwarder.events", {
    description: "Events made durable in the sink",
  });
  const ahead = meter.createCounter("holdfast.forwarder.events_ahead", {
    description: "Of these, events of another hub that were forwarded before their own hub did",
  });
  const errors = meter.createCounter("holdfast.forwarder.errors", {
    description: "Steps that failed and were tried again",
  });
  const taken = meter.createCounter("holdfast.forwarder.taken_over", {
    description: "Times that the rest of another hub's events was forwarded here",
  });
  let waiting: readonly ForwardStatus[] = [];
  meter
    .createObservableGauge("holdfast.forwarder.lag_events", {
      description: "Events of all hubs that wait for the sink, about",
    })
    .addCallback((gauge) =>
      gauge.observe(
        waiting.reduce((sum, status) => sum + status.waitingEvents, 0),
        { sink },
      ),
    );
  meter
    .createObservableGauge("holdfast.forwarder.lag_seconds", {
      description: "For how long the oldest event of any hub waits for the sink",
      unit: "s",
    })
    .addCallback((gauge) =>
      gauge.observe(Math.max(0, ...waiting.map((status) => status.lagMs ?? 0)) / 1_000, { sink }),
    );
  return {
    forwarded: (count: number, aheadCount: number) => {
      events.add(count, { sink });
      if (aheadCount > 0) ahead.add(aheadCount, { sink });
    },
    failed: () => errors.add(1, { sink }),
    tookOver: () => taken.add(1, { sink }),
    waiting: (found: readonly ForwardStatus[]) => {
      waiting = found;
    },
  };
}

/** Counts final verdicts: what Holdfast calls processed. */
export function verdictCounter(): (verdict: string, count: number) => void {
  const verdicts = metrics.getMeter("holdfast").createCounter("holdfast.verdicts", {
    description: "Verdicts on reported results, by verdict",
  });
  return (verdict, count) => verdicts.add(count, { verdict });
}

/** Counts leases that were granted in the commit that submitted their jobs. */
export function directLeaseCounter(): (leases: number) => void {
  const leases = metrics.getMeter("holdfast").createCounter("holdfast.leases.direct", {
    description: "Leases granted in the commit that submitted their jobs",
  });
  return (count) => leases.add(count);
}

/** Counts what became of jobs because others of their runs ended. */
export function runCounter(): (change: string, jobs: number) => void {
  const changes = metrics.getMeter("holdfast").createCounter("holdfast.runs.changes", {
    description: "Jobs that changed because others ended, by change",
  });
  return (change, jobs) => changes.add(jobs, { change });
}

/** Counts jobs that were submitted again. */
export function replayCounter(): (what: "job" | "run", jobs: number) => void {
  const replayed = metrics.getMeter("holdfast").createCounter("holdfast.replays.jobs", {
    description: "Jobs submitted again by replays, by what was replayed: job, run",
  });
  return (what, jobs) => replayed.add(jobs, { what });
}

/** Counts what became of acts on effects. */
export function effectCounter(): (act: string, answer: string) => void {
  const acts = metrics.getMeter("holdfast").createCounter("holdfast.effects", {
    description: "Acts on effects, by act and answer",
  });
  return (act, answer) => acts.add(1, { act, answer });
}

/** Counts what became of entries of the inbox, and how long those that became jobs had waited. */
export function inboxMetrics(): (outcome: "adopted" | "existing" | "refused", waitedMs: number) => void {
  const meter = metrics.getMeter("holdfast");
  const entries = meter.createCounter("holdfast.inbox.entries", {
    description: "Jobs submitted from SQL that this hub settled, by outcome: adopted, existing, refused",
  });
  const waits = meter.createHistogram("holdfast.inbox.wait", {
    description: "From a submit in SQL until its job is there, the transaction's own time included",
    unit: "s",
    advice: { explicitBucketBoundaries: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5, 30] },
  });
  return (outcome, waitedMs) => {
    entries.add(1, { outcome });
    if (outcome === "adopted") waits.record(waitedMs / 1_000);
  };
}

/** Counts dead letters that operators acted on. */
export function deadLetterCounter(): (act: "retried" | "resolved", letters: number) => void {
  const letters = metrics.getMeter("holdfast").createCounter("holdfast.dead_letters", {
    description: "Dead letters that operators acted on, by act: retried, resolved",
  });
  return (act, count) => letters.add(count, { act });
}

/** What waiting for signals is watched by. */
export function waitMetrics(ledger: { countSuspended: () => Promise<number> }) {
  const meter = metrics.getMeter("holdfast");
  const answers = meter.createCounter("holdfast.waits", {
    description: "Waits of running jobs for signals, by answer: suspended, signal, timed_out, or why not",
  });
  const woken = meter.createCounter("holdfast.waits.woken", {
    description: "Suspended jobs that this hub made ready, by reason: signal, timeout",
  });
  meter
    .createObservableGauge("holdfast.jobs.suspended", {
      description: "Jobs of all hubs that wait for a signal, counted up to a million",
    })
    .addCallback(async (gauge) => {
      // While the ledger is away there is nothing to tell.
      const count = await ledger.countSuspended().catch(() => null);
      if (count !== null) gauge.observe(count);
    });
  return {
    answered: (answer: string) => answers.add(1, { answer }),
    woken: (reason: string, jobs: number) => woken.add(jobs, { reason }),
  };
}

/** What the sealed history is watched by. */
export function sealMetrics() {
  const meter = metrics.getMeter("holdfast");
  const sealed = meter.createCounter("holdfast.audit.sealed", {
    description: "Operations that this hub has sealed",
  });
  const waits = meter.createGauge("holdfast.audit.waiting", {
    description: "How long the oldest operation that is not sealed has waited",
    unit: "s",
  });
  return {
    sealed: (operations: number) => sealed.add(operations),
    waited: (oldestMs: number) => waits.record(oldestMs / 1_000),
  };
}
