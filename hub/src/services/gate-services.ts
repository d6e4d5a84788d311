import { gateTypeName, targetText } from "../domain/gate.js";
import type { Ref } from "../domain/lane.js";
import type { Lanes } from "../lanes/lanes.js";
import type { Ledger } from "../ledger/ledger.js";
import { Allowances } from "./allowances.js";
import { budgetAlerts } from "./budget-alerts.js";
import { Budgets } from "./budgets.js";
import { GateBook } from "./gate-book.js";
import {
  budgetCounter,
  gateStopCounter,
  preemptionCounter,
  rateMetrics,
  watchGates,
} from "./gate-metrics.js";
import { GateReopener } from "./gate-reopener.js";
import { GateRooms } from "./gate-rooms.js";
import type { JobFeed } from "./job-feed.js";
import type { LaneBook } from "./lane-book.js";
import { GatedLanes } from "./lane-gates.js";
import { Limits } from "./limits.js";
import type { Peers } from "./peers.js";
import { Preemption, type PreemptionHooks } from "./preemption.js";
import { WorkOutcomes } from "./work-outcomes.js";
import type { WorkerSession } from "./worker-session.js";

export interface GateParts {
  readonly lanes: Lanes;
  readonly book: LaneBook;
  readonly feed: JobFeed;
  readonly peers: Peers;
}

export interface GateHooks extends Pick<PreemptionHooks, "revoke" | "noteDue" | "failed"> {
  /** Lanes that were held may not be any more. */
  readonly opened: () => void;
  readonly log: (line: string) => void;
}

/** Everything that a hub does about what holds work back, put together. The gates are known when it resolves. */
export async function gateServices(
  ledger: Ledger,
  { lanes, book, feed, peers }: GateParts,
  hooks: GateHooks,
) {
  const { opened, failed, log } = hooks;
  const gates = new GateBook(ledger, failed);
  const rooms = new GateRooms();
  await gates.load();
  const rateCounts = rateMetrics();
  const allowances = new Allowances(ledger, {
    granted: opened,
    drawn: rateCounts.drawn,
    turned: (gate, { turnedTo, reason }) => {
      rateCounts.turned(turnedTo ?? "");
      log(`the breaker of ${targetText(gate.target)} (tenant ${gate.tenantId}) is ${turnedTo}: ${reason}`);
      if (turnedTo !== "open") return;
      gates.outdated();
      peers.configChanged("gates");
    },
    failed,
  });
  const gatedLanes = new GatedLanes(gates, rooms, allowances);
  const countNotice = budgetCounter();
  const alert = budgetAlerts(ledger, (notice, level) => {
    countNotice(notice);
    log(`warning: the budget of ${level.target} is ${notice === "spent" ? "spent" : "nearly spent"}`);
  });
  const reopener = new GateReopener(ledger, gates, rooms, lanes, feed, opened, alert, failed);
  gates.onChange(() => {
    reopener.lookNow();
    opened();
  });
  const preemption = new Preemption(ledger, book, lanes, feed, {
    ...hooks,
    seatFreed: () => reopener.lookNow(),
    counted: preemptionCounter(),
  });
  const limits = new Limits(ledger, gates, gatedLanes, book, lanes, peers);
  const countStop = gateStopCounter();
  watchGates(gates, (gate) => gatedLanes.holdAt(gate) !== null);
  return {
    book: gates,
    lanes: gatedLanes,
    limits,
    budgets: new Budgets(ledger, limits, () => reopener.lookNow()),
    outcomes: new WorkOutcomes(gatedLanes, (laneId) => book.get(laneId)),
    /** The ledger parked a job that the session would have got. */
    stopped(session: WorkerSession, ref: Ref, stoppedAt: number): void {
      const gate = gates.get(stoppedAt);
      countStop(gate ? gateTypeName(gate.type) : "key");
      reopener.stopped(stoppedAt);
      preemption.stopped(session, ref, gate);
    },
    /** A lease that counted at some gate has ended. */
    meteredLeaseEnded: () => reopener.meteredLeaseEnded(),
    start(): void {
      gates.start();
      reopener.start();
    },
    async stop(): Promise<void> {
      await Promise.all([gates.stop(), reopener.stop(), allowances.stop()]);
    },
  };
}

export type GateServices = Awaited<ReturnType<typeof gateServices>>;
