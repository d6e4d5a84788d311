import { readFileSync } from "node:fs";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { AuditService } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import { BackfillService } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { BudgetService } from "@holdfast/gen/holdfast/v1/budget_service_pb";
import { DeadLetterService } from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { EffectService } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import { EventService } from "@holdfast/gen/holdfast/v1/event_service_pb";
import { FleetService } from "@holdfast/gen/holdfast/v1/fleet_service_pb";
import { InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { LimitService } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { OperationService } from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { ProductService } from "@holdfast/gen/holdfast/v1/product_service_pb";
import { ScheduleService } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { usageError } from "./cli-error.js";

export const DEFAULT_HUB_URL = "http://127.0.0.1:7421";

/** No call but Watch takes longer; a hub that is silent for this long counts as unreachable. */
const CALL_TIMEOUT_MS = 30_000;

/** Watch lives as long as its jobs do. */
export const NO_TIMEOUT = { timeoutMs: 0 } as const;

export interface ConnectionOptions {
  /** Address of the hub's HTTP port. */
  readonly hubUrl: string;
  readonly apiKey?: string | undefined;
  /** PEM file of the authority that signed the hub's certificate. */
  readonly caFile?: string | undefined;
}

export interface Connection {
  readonly hubUrl: string;
  readonly jobs: Client<typeof JobService>;
  readonly effects: Client<typeof EffectService>;
  readonly inbox: Client<typeof InboxService>;
  readonly deadLetters: Client<typeof DeadLetterService>;
  readonly schedules: Client<typeof ScheduleService>;
  readonly backfills: Client<typeof BackfillService>;
  readonly fleet: Client<typeof FleetService>;
  readonly events: Client<typeof EventService>;
  readonly access: Client<typeof AccessService>;
  readonly audit: Client<typeof AuditService>;
  readonly limits: Client<typeof LimitService>;
  readonly budgets: Client<typeof BudgetService>;
  readonly operations: Client<typeof OperationService>;
  readonly products: Client<typeof ProductService>;
  readonly signals: Client<typeof SignalService>;
  /** The same over HTTP/2, for streams that speak both ways; its connection keeps the process until it is closed. */
  readonly openSignalStreams: () => {
    readonly client: Client<typeof SignalService>;
    readonly close: () => void;
  };
}

/** Makes the clients; nothing is dialled before the first call. */
export function connect(options: ConnectionOptions): Connection {
  const hubUrl = checkHubUrl(options.hubUrl);
  const common = {
    baseUrl: hubUrl,
    defaultTimeoutMs: CALL_TIMEOUT_MS,
    interceptors: options.apiKey === undefined ? [] : [bearer(options.apiKey)],
    ...(options.caFile === undefined ? {} : { nodeOptions: { ca: readAuthority(options.caFile) } }),
  };
  const transport = createConnectTransport({ ...common, httpVersion: "1.1" });
  return {
    hubUrl,
    jobs: createClient(JobService, transport),
    effects: createClient(EffectService, transport),
    inbox: createClient(InboxService, transport),
    deadLetters: createClient(DeadLetterService, transport),
    schedules: createClient(ScheduleService, transport),
    backfills: createClient(BackfillService, transport),
    fleet: createClient(FleetService, transport),
    events: createClient(EventService, transport),
    access: createClient(AccessService, transport),
    audit: createClient(AuditService, transport),
    limits: createClient(LimitService, transport),
    budgets: createClient(BudgetService, transport),
    operations: createClient(OperationService, transport),
    products: createClient(ProductService, transport),
    signals: createClient(SignalService, transport),
    openSignalStreams: () => {
      const sessionManager = new Http2SessionManager(hubUrl, {}, common.nodeOptions);
      const transport = createConnectTransport({ ...common, httpVersion: "2", sessionManager });
      return { client: createClient(SignalService, transport), close: () => sessionManager.abort() };
    },
  };
}

function bearer(apiKey: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${apiKey}`);
    return next(request);
  };
}

function checkHubUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw usageError(`--hub "${text}" is not an http or https URL.`, `Write it like ${DEFAULT_HUB_URL}.`);
  }
  return text.replace(/\/+$/, "");
}

/** Reads the PEM file of --ca. */
export function readAuthority(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw usageError(`--ca ${file} cannot be read: ${(error as Error).message}.`, "Name a PEM file.");
  }
}
