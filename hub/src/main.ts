// Composition root of a hub: configuration, start order, stop order. Each part is stopped before those that it
// uses.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createMemoryExchange } from "./bus/memory-bus.js";
import { createNatsBus } from "./bus/nats-bus.js";
import { describeConfig, type HubConfig, type HubOptions, readHubConfig } from "./config.js";
import { isLoopback, splitAddress } from "./domain/address.js";
import { createJetstreamLanes, defaultJetstreamLanesSettings } from "./lanes/jetstream-lanes.js";
import { createMemoryLanes } from "./lanes/memory-lanes.js";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./ledger/embedded-postgres.js";
import { type Ledger, openLedger } from "./ledger/ledger.js";
import { defaultNatsLinkSettings, type NatsLink, startNatsLink } from "./nats/nats-link.js";
import { accessService } from "./rpc/access-service.js";
import { auditService } from "./rpc/audit-service.js";
import { backfillService } from "./rpc/backfill-service.js";
import { budgetService } from "./rpc/budget-service.js";
import { startConnectors } from "./rpc/connectors.js";
import { deadLetterService } from "./rpc/dead-letter-service.js";
import { effectService } from "./rpc/effect-service.js";
import { eventService } from "./rpc/event-service.js";
import { fleetService } from "./rpc/fleet-service.js";
import { inboxService } from "./rpc/inbox-service.js";
import { jobService } from "./rpc/job-service.js";
import { limitService } from "./rpc/limit-service.js";
import { operationService } from "./rpc/operation-service.js";
import { productService } from "./rpc/product-service.js";
import { scheduleService } from "./rpc/schedule-service.js";
import { markDead } from "./rpc/signal-messages.js";
import { signalService } from "./rpc/signal-service.js";
import { workerService } from "./rpc/worker-service.js";
import { Access } from "./services/access.js";
import { Acknowledgements } from "./services/acknowledgements.js";
import { Attachments } from "./services/attachments.js";
import type { AuditSigner } from "./services/audit-key.js";
import { Audits } from "./services/audits.js";
import { ChangeRelay } from "./services/change-relay.js";
import { DeadWriters } from "./services/dead-writers.js";
import { DirectLeases } from "./services/direct-leases.js";
import { Dispatcher } from "./services/dispatcher.js";
import { Effects } from "./services/effects.js";
import { Explainer } from "./services/explainer.js";
import { Fleet } from "./services/fleet.js";
import { defaultForwarderSettings, Forwarder } from "./services/forwarder.js";
import { Forwarding } from "./services/forwarding.js";
import { gateServices } from "./services/gate-services.js";
import {
  busMetrics,
  deadLetterCounter,
  directLeaseCounter,
  effectCounter,
  forwarderMetrics,
  inboxMetrics,
  laneMetrics,
  ledgerMetrics,
  replayCounter,
  runCounter,
  verdictCounter,
  waitMetrics,
  watchFairness,
  watchHub,
  watchPeers,
} from "./services/hub-metrics.js";
import { Inbox } from "./services/inbox.js";
import { JobDeadLetters } from "./services/job-dead-letters.js";
import { JobFeed } from "./services/job-feed.js";
import { Jobs } from "./services/jobs.js";
import { KeyCheck } from "./services/key-check.js";
import { LaneBook } from "./services/lane-book.js";
import { LaneNews } from "./services/lane-news.js";
import { defaultLaneRefillSettings, LaneRefill, sharedLaneRefillSettings } from "./services/lane-refill.js";
import { LeaseCheck } from "./services/lease-check.js";
import { leaseReturner } from "./services/leases-back.js";
import { Maintenance } from "./services/maintenance.js";
import { Operations } from "./services/operations.js";
import { heedPeers } from "./services/peer-messages.js";
import { Peers } from "./services/peers.js";
import { ProductBook } from "./services/product-book.js";
import { Products } from "./services/products.js";
import { Reaper } from "./services/reaper.js";
import { Replays } from "./services/replays.js";
import { Runs } from "./services/runs.js";
import { scheduleServices } from "./services/schedule-services.js";
import { provideAuditSigner, sealingBy } from "./services/sealing.js";
import { SessionLeases } from "./services/session-leases.js";
import { SessionLiveness } from "./services/session-liveness.js";
import type { RevokedLease } from "./services/session-messages.js";
import { SessionReports } from "./services/session-reports.js";
import { Sessions } from "./services/sessions.js";
import { SettledDeliveries } from "./services/settled-deliveries.js";
import { signalMetrics, watchSignals } from "./services/signal-metrics.js";
import { signalServices } from "./services/signal-services.js";
import { Suspensions } from "./services/suspensions.js";
import { Timers } from "./services/timers.js";
import { UnaryWorkers } from "./services/unary-workers.js";
import { Wakes } from "./services/wakes.js";
import { JetStreamSink } from "./sinks/jetstream-sink.js";
import type { EventSink } from "./sinks/sink.js";
import { startTelemetry } from "./telemetry.js";
import { hubVersion } from "./version.js";

export type { HubOptions } from "./config.js";

export interface RunningHub {
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly databaseUrl: string;
  /** Drains and stops everything; safe to call twice. */
  stop(reason?: string): Promise<void>;
}

const eventAckTimeoutMs = 5_000;

/**
 * Starts a hub: the embedded ledger unless one is given, services, both ports.
 *
 * @throws ConfigError for an option that cannot be used; other errors say what could not be opened
 */
export async function startHub(options: HubOptions, log: (line: string) => void): Promise<RunningHub> {
  const config = readHubConfig(options);
  log(`holdfast hub ${hubVersion}`);
  for (const line of describeConfig(config)) log(`  ${line}`);
  const signer = await provideAuditSigner(config, log);
  const postgres = config.databaseUrl ? null : await startEmbeddedPostgres({ dataDir: config.dataDir, log });
  const nats = config.natsUrl
    ? await startNatsLink({ ...defaultNatsLinkSettings, url: config.natsUrl, name: "holdfast hub" }, log)
    : null;
  const opened: Opened = [];
  try {
    return await startOn(config, signer, postgres, nats, opened, log);
  } catch (error) {
    for (const close of opened.reverse()) await close().catch(() => undefined);
    await nats?.close();
    await postgres?.stop();
    throw error;
  }
}

/** How to close what a start has opened, should it fail before all is there that closes it in order. */
type Opened = (() => Promise<unknown>)[];

async function startOn(
  config: HubConfig,
  signer: AuditSigner | null,
  postgres: EmbeddedPostgres | null,
  nats: NatsLink | null,
  opened: Opened,
  log: (line: string) => void,
): Promise<RunningHub> {
  const databaseUrl = config.databaseUrl ?? (postgres as EmbeddedPostgres).url;
  const telemetry = startTelemetry(hubVersion);
  opened.push(() => telemetry.stop());
  const onDefect = (error: unknown) => log(`error: ${error instanceof Error ? error.stack : String(error)}`);
  const onTrouble = (error: unknown) =>
    log(`warning: ${error instanceof Error ? error.message : String(error)}`);
  const commitMetrics = ledgerMetrics();
  let forwarder: Forwarder | undefined;
  let runs: Runs | undefined;
  let wakes: Wakes | undefined;
  let timers: Timers | undefined;
  const ledger = await openLedger({
    databaseUrl,
    hubVersion,
    readConnectionsMax: config.readConnectionsMax,
    limits: config,
    observer: {
      committed: commitMetrics.committed,
      pageCommitted: (writerId, page) => forwarder?.pageCommitted(writerId, page),
      runsAdvanced: (changes) => runs?.advanced(changes),
      jobsWoken: (woken) => {
        wakes?.woken(woken);
        if (woken.isMore) timers?.noteDue(Date.now());
      },
      disconnected: (error) => {
        commitMetrics.disconnected();
        onTrouble(error);
        log("warning: the ledger is away; reconnecting");
      },
      reconnected: (afterMs) => log(`the ledger is back after ${afterMs} ms`),
      poisoned: (statement, error) => {
        log(`warning: ${statement} refused an item`);
        onTrouble(error);
      },
      heldUp: (statement, error) => {
        log(`warning: ${statement} could not be done for an item; trying again`);
        onTrouble(error);
      },
    },
    onReadError: onTrouble,
  });
  opened.push(() => ledger.stop());

  const observer = busMetrics();
  const bus = nats ? createNatsBus(nats, config.natsPrefix, observer) : createMemoryExchange().join(observer);
  const peers = new Peers(bus, randomUUID());
  const relay = new ChangeRelay(peers);
  const feed = new JobFeed({
    changed: relay.changed.bind(relay),
    watching: peers.watching.bind(peers),
  });
  const laneCounts = laneMetrics();
  const lanes = nats
    ? createJetstreamLanes(nats, jetstreamLanesSettings(config), laneCounts, log)
    : createMemoryLanes({ windowRefsMax: config.laneWindowRefsMax });
  opened.push(
    () => bus.close(),
    () => lanes.stop(),
  );
  const book = new LaneBook(ledger, config.lanesPerTenantMax);
  await book.load();
  const returnLeases = leaseReturner(ledger, lanes, feed, () => gates.meteredLeaseEnded());
  const sessions = new Sessions(config.streamsMax, {
    jobsMax: config.creditJobsMax,
    bytesMax: config.creditBytesMax,
  });
  const leases = new SessionLeases(returnLeases, onTrouble);
  const acknowledgements = new Acknowledgements(ledger, onTrouble);
  const attachments = new Attachments(
    config.sessionTtlMs,
    ledger,
    sessions,
    leases,
    acknowledgements,
    onTrouble,
  );
  const liveness = new SessionLiveness(config, ledger, sessions, leases, acknowledgements);
  const refillSettings = nats ? sharedLaneRefillSettings : defaultLaneRefillSettings;
  const refill = new LaneRefill(ledger, lanes, book, refillSettings, onTrouble, laneCounts.refilled);
  const gates = await gateServices(
    ledger,
    { lanes, book, feed, peers },
    {
      opened: () => dispatcher.wake(),
      revoke: (sessionId, lease) => revoke(sessionId, lease),
      noteDue: (dueAtMs) => timers?.noteDue(dueAtMs),
      failed: onTrouble,
      log,
    },
  );
  const productBook = new ProductBook(ledger, onTrouble);
  await productBook.load();
  const dispatcher = new Dispatcher(ledger, lanes, book, gates.lanes, productBook, config, {
    granted: leases.granted.bind(leases),
    claimLost: sessions.claimLost.bind(sessions),
    stopped: (session, ref, { stoppedAt }) => {
      gates.stopped(session, ref, stoppedAt);
      feed.changed(ref.jobId);
    },
    starved: (laneId) => refill.starved(laneId),
  });
  opened.push(async () => {
    liveness.stop();
    dispatcher.stop();
  });
  sessions.connect(dispatcher);
  lanes.onChange((laneId) => {
    refill.laneChanged(laneId);
    dispatcher.laneChanged(laneId);
  });
  productBook.onChange(() => dispatcher.orderChanged());
  const revoke = (sessionId: string, lease: RevokedLease) => {
    if (!sessions.revoke(sessionId, lease)) peers.revoke(sessionId, lease);
  };
  const waits = waitMetrics(ledger);
  wakes = new Wakes(ledger, lanes, feed, waits.woken);
  timers = new Timers(ledger, lanes, feed, wakes, revoke, onTrouble);
  const noteDue = timers.noteDue.bind(timers);
  const reports = new SessionReports(
    ledger,
    feed,
    returnLeases,
    noteDue,
    verdictCounter(),
    gates.outcomes,
    gates.meteredLeaseEnded,
  );
  const reaper = new Reaper(ledger, returnLeases, (ids) => sessions.expired(ids), onTrouble);
  const deadWriters = new DeadWriters(ledger, onTrouble);
  const maintenance = new Maintenance(ledger, onTrouble);
  const directLeases = new DirectLeases(dispatcher, directLeaseCounter());
  const jobs = new Jobs(ledger, lanes, book, feed, noteDue, revoke, config.watchesMax, directLeases);
  const inbox = new Inbox(ledger, lanes, book, directLeases, noteDue, config.payloadBytesMax, {
    settled: inboxMetrics(),
    replaced: (jobId) => feed.changed(jobId),
    failed: onTrouble,
  });
  const schedules = scheduleServices(ledger, jobs.stop.bind(jobs), onTrouble);
  const signals = signalServices(ledger, peers, config, markDead, signalMetrics(), onTrouble);
  runs = new Runs(ledger, lanes, book, feed, noteDue, revoke, runCounter());
  const endKey = (keyId: string) => {
    sessions.endKey(keyId);
    jobs.endKey(keyId);
    signals.endKey(keyId);
  };
  const exposed = [config.grpcListen, config.httpListen].find(
    (address) => !isLoopback(splitAddress(address).host),
  );
  const accessHooks = {
    revoked: (keyId: string) => {
      endKey(keyId);
      peers.keyRevoked(keyId);
    },
    closed: () => peers.configChanged("keys"),
  };
  const access = new Access(ledger, accessHooks, exposed !== undefined);
  const sealing = signer && sealingBy(signer, ledger, log, onTrouble);
  const settledDeliveries = new SettledDeliveries(ledger, sessions, onTrouble);
  const leaseCheck = new LeaseCheck(config.heartbeatIntervalMs, ledger, sessions, onTrouble);
  const keyCheck = new KeyCheck(
    ledger,
    () => [...jobs.watchingKeys(), ...signals.keysInUse()],
    endKey,
    onTrouble,
  );
  const laneNews = new LaneNews(
    book,
    { starved: (laneId) => refill.starved(laneId), dispatch: () => dispatcher.wake() },
    onTrouble,
  );
  book.onMade((laneIds) => peers.wake(laneIds));
  heedPeers(bus, {
    sessions,
    feed,
    access,
    gateBook: gates.book,
    laneNews,
    productBook,
    leaseCheck,
    keyCheck,
    signals: signals.router,
    endKey,
  });
  const sink = openSink(config, nats);
  forwarder = sink ? openForwarder(ledger, sink, log, onTrouble) : undefined;
  const suspensions = new Suspensions(ledger, signals.channels, feed, noteDue, waits.answered);
  const effects = new Effects(ledger, feed, effectCounter());
  const fleet = new Fleet(ledger, lanes, book, sessions, { hubVersion, isEmbedded: postgres !== null });
  watchSignals(signals);
  watchHub(ledger, sessions, lanes, book);
  watchFairness(lanes, book);
  watchPeers(peers, nats);

  let isStopping = false;
  const services = [
    jobService(
      jobs,
      runs,
      new Replays(ledger, lanes, replayCounter()),
      new Explainer(ledger, lanes, book, gates.lanes, productBook, sessions),
      config,
    ),
    workerService(
      {
        attachments,
        sessions,
        liveness,
        reports,
        effects,
        suspensions,
        limits: config,
        hubVersion,
        onDefect,
      },
      new UnaryWorkers(attachments, sessions, liveness, reports, ledger, book),
    ),
    effectService(effects, config),
    inboxService(inbox),
    scheduleService(schedules.schedules, config),
    backfillService(schedules.backfills, config),
    deadLetterService(new JobDeadLetters(ledger, lanes, feed, deadLetterCounter())),
    fleetService(fleet),
    eventService(new Forwarding(ledger, sink?.name ?? null)),
    accessService(access),
    limitService(gates.limits),
    budgetService(gates.budgets),
    productService(new Products(ledger, productBook, peers)),
    operationService(new Operations(ledger)),
    auditService(new Audits(ledger, sealing)),
    signalService({ ...signals, limits: config, onDefect }),
  ];
  const stopServices = async () => {
    dispatcher.stop();
    liveness.stop();
    reports.stop();
    await schedules.stop();
    await inbox.stop();
    await Promise.all([gates.stop(), productBook.stop()]);
    await Promise.all([timers.stop(), reaper.stop(), refill.stop(), maintenance.stop()]);
    await Promise.all([deadWriters.stop(), sealing?.sealer.stop()]);
    await Promise.all([settledDeliveries.stop(), leaseCheck.stop(), keyCheck.stop(), laneNews.stop()]);
    relay.stop();
    feed.stop();
    await forwarder?.stop();
    await signals.stop();
    await ledger.stop();
    await sink?.close();
    await lanes.stop();
    await bus.close();
    await nats?.close();
    await telemetry.stop();
    await postgres?.stop();
  };
  opened.length = 0;
  try {
    if (exposed !== undefined) await refuseOpenHub(exposed, ledger);
    await forwarder?.start();
    gates.start();
    productBook.start();
    refill.start();
    timers.start();
    reaper.start();
    maintenance.start();
    deadWriters.start();
    sealing?.sealer.start();
    settledDeliveries.start();
    leaseCheck.start();
    keyCheck.start();
    laneNews.start();
    peers.start();
    signals.start();
    await inbox.start();
    schedules.start();
    const ports = await startConnectors(config, await readTls(config), services, access, {
      isReady: async () => !isStopping && ledger.isConnected() && (await ledger.readFacts()).roundTripMs >= 0,
      metrics: telemetry.serveMetrics,
      onDefect,
    });
    log(`gRPC on ${ports.grpc.address}, HTTP on ${ports.http.address}`);

    let stopping: Promise<void> | undefined;
    const stop = async (reason: string) => {
      isStopping = true;
      log(`stopping: ${reason}`);
      dispatcher.stop();
      peers.stop();
      // What a worker has not acknowledged here it may well hold: the hub that it goes to is told.
      liveness.stop();
      sessions.stop(config.drainGraceMs);
      signals.endAll();
      await Promise.all([ports.grpc.stop(config.drainGraceMs), ports.http.stop(config.drainGraceMs)]);
      sessions.endAll();
      await stopServices();
      log("stopped");
    };
    return {
      grpcAddress: ports.grpc.address,
      httpAddress: ports.http.address,
      databaseUrl,
      stop: (reason = "asked to") => {
        stopping ??= stop(reason);
        return stopping;
      },
    };
  } catch (error) {
    sessions.stop(0);
    peers.stop();
    await stopServices();
    throw error;
  }
}

function jetstreamLanesSettings(config: HubConfig) {
  return {
    ...defaultJetstreamLanesSettings,
    prefix: config.natsPrefix,
    replicas: config.natsReplicas,
    windowRefsMax: config.laneWindowRefsMax,
  };
}

function openSink(config: HubConfig, nats: NatsLink | null): EventSink | null {
  if (config.eventSink === "none" || nats === null) return null;
  return new JetStreamSink(nats, {
    prefix: config.natsPrefix,
    maxAgeMs: config.eventStreamMaxAgeMs,
    maxBytes: config.eventStreamMaxBytes,
    dedupeWindowMs: config.eventDedupeWindowMs,
    ackTimeoutMs: eventAckTimeoutMs,
  });
}

function openForwarder(
  ledger: Ledger,
  sink: EventSink,
  log: (line: string) => void,
  onTrouble: (error: unknown) => void,
): Forwarder {
  const watched = forwarderMetrics(sink.name);
  return new Forwarder(ledger, sink, defaultForwarderSettings, {
    ...watched,
    failed: (error) => {
      watched.failed();
      onTrouble(error);
    },
    tookOver: (writerId, pages) => {
      watched.tookOver();
      log(`forwarded ${pages} pages of events of writer ${writerId}`);
    },
  });
}

async function readTls(config: HubConfig): Promise<{ cert: Buffer; key: Buffer } | null> {
  if (config.tlsCert === null || config.tlsKey === null) return null;
  return { cert: await readFile(config.tlsCert), key: await readFile(config.tlsKey) };
}

/** Without any key nobody could call a hub that others reach, and on loopback everybody may do everything. */
async function refuseOpenHub(exposed: string, ledger: Pick<Ledger, "hasKeys">): Promise<void> {
  if (await ledger.hasKeys()) return;
  throw new Error(
    `The ledger holds no API key, so nobody may use ${exposed}. Make a key first, on a hub that listens on 127.0.0.1: holdfast keys create --subject admin --scope access:admin`,
  );
}
