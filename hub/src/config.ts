// Every option of a hub, in one table: an explicit option wins over the environment, the environment over the
// default. Values are checked one by one and against each other before anything is opened.

/** One option: where it comes from, its unit, its default. */
export interface HubOption {
  readonly field: string;
  readonly flag: string;
  readonly env: string;
  readonly unit: "text" | "address" | "file" | "folder" | "ms" | "count" | "bytes" | "days";
  readonly default: string | number | null;
  /** Smallest and largest number allowed. */
  readonly range?: readonly [number, number];
  /** Which texts are allowed, and how to say so. */
  readonly form?: readonly [(text: string) => boolean, string];
  readonly isSecret?: boolean;
  readonly help: string;
}

const KiB = 1024;
const MiB = 1024 * KiB;

export const HUB_OPTION_TABLE = [
  {
    field: "databaseUrl",
    flag: "database-url",
    env: "HOLDFAST_DATABASE_URL",
    unit: "text",
    default: null,
    isSecret: true,
    help: "PostgreSQL 15 or newer that holds the ledger; without it an embedded server is started",
  },
  {
    field: "dataDir",
    flag: "data-dir",
    env: "HOLDFAST_DATA_DIR",
    unit: "folder",
    default: ".holdfast",
    help: "where the embedded server keeps its data",
  },
  {
    field: "grpcListen",
    flag: "grpc-listen",
    env: "HOLDFAST_GRPC_LISTEN",
    unit: "address",
    default: "127.0.0.1:7420",
    help: "address of the gRPC port, for workers and generated clients",
  },
  {
    field: "httpListen",
    flag: "http-listen",
    env: "HOLDFAST_HTTP_LISTEN",
    unit: "address",
    default: "127.0.0.1:7421",
    help: "address of the HTTP port: Connect, gRPC-Web, JSON, /healthz, /readyz, /metrics",
  },
  {
    field: "tlsCert",
    flag: "tls-cert",
    env: "HOLDFAST_TLS_CERT",
    unit: "file",
    default: null,
    help: "PEM certificate chain; with --tls-key, both ports speak TLS",
  },
  {
    field: "tlsKey",
    flag: "tls-key",
    env: "HOLDFAST_TLS_KEY",
    unit: "file",
    default: null,
    help: "PEM private key of --tls-cert",
  },
  {
    field: "auditKey",
    flag: "audit-key",
    env: "HOLDFAST_AUDIT_KEY",
    unit: "file",
    default: null,
    help: "PEM private key (Ed25519) that seals what operators change, made by `holdfast audit keygen`; with the embedded ledger one is made in --data-dir",
  },
  {
    field: "natsUrl",
    flag: "nats-url",
    env: "HOLDFAST_NATS_URL",
    unit: "text",
    default: null,
    isSecret: true,
    form: [
      (text) => text.split(",").every((url) => /^(nats|tls):\/\/[^\s/]+$/.test(url) && URL.canParse(url)),
      "nats://[USER:PASSWORD@]HOST[:PORT] or tls://…, several of one cluster separated by commas",
    ],
    help: "NATS servers that the hubs of a fleet share; without them this hub is alone",
  },
  {
    field: "natsPrefix",
    flag: "nats-prefix",
    env: "HOLDFAST_NATS_PREFIX",
    unit: "text",
    default: "holdfast",
    form: [(text) => /^[A-Za-z0-9_-]{1,32}$/.test(text), "1 to 32 letters, digits, - or _"],
    help: "first part of every subject and stream name, so that several fleets may share NATS",
  },
  {
    field: "natsReplicas",
    flag: "nats-replicas",
    env: "HOLDFAST_NATS_REPLICAS",
    unit: "count",
    default: 0,
    range: [0, 5],
    help: "copies of the stream of lanes, when this hub makes it; 0: 3 if the cluster has so many servers, else 1",
  },
  {
    field: "eventSink",
    flag: "event-sink",
    env: "HOLDFAST_EVENT_SINK",
    unit: "text",
    default: "none",
    form: [(text) => text === "none" || text === "nats", "none or nats"],
    help: "where events are forwarded to: nowhere, or into a JetStream stream",
  },
  {
    field: "eventStreamMaxAgeMs",
    flag: "event-stream-max-age-ms",
    env: "HOLDFAST_EVENT_STREAM_MAX_AGE_MS",
    unit: "ms",
    default: 604_800_000,
    range: [60_000, 31_536_000_000],
    help: "the stream of events forgets them after this long",
  },
  {
    field: "eventStreamMaxBytes",
    flag: "event-stream-max-bytes",
    env: "HOLDFAST_EVENT_STREAM_MAX_BYTES",
    unit: "bytes",
    default: 1024 * MiB,
    range: [MiB, 16_384 * 1024 * MiB],
    help: "the stream of events forgets the oldest beyond this; NATS reserves it",
  },
  {
    field: "eventDedupeWindowMs",
    flag: "event-dedupe-window-ms",
    env: "HOLDFAST_EVENT_DEDUPE_WINDOW_MS",
    unit: "ms",
    default: 60_000,
    range: [1_000, 3_600_000],
    help: "NATS drops an event that comes again within this; later ones the consumer tells by their id",
  },
  {
    field: "sessionTtlMs",
    flag: "session-ttl-ms",
    env: "HOLDFAST_SESSION_TTL_MS",
    unit: "ms",
    default: 30_000,
    range: [300, 3_600_000],
    help: "a session expires this long after its last renewal",
  },
  {
    field: "heartbeatIntervalMs",
    flag: "heartbeat-interval-ms",
    env: "HOLDFAST_HEARTBEAT_INTERVAL_MS",
    unit: "ms",
    default: 5_000,
    range: [50, 600_000],
    help: "workers send a heartbeat this often; at most a third of the session TTL",
  },
  {
    field: "drainGraceMs",
    flag: "drain-grace-ms",
    env: "HOLDFAST_DRAIN_GRACE_MS",
    unit: "ms",
    default: 5_000,
    range: [0, 600_000],
    help: "a stopping hub gives its streams this long to end by themselves",
  },
  {
    field: "streamsMax",
    flag: "streams-max",
    env: "HOLDFAST_STREAMS_MAX",
    unit: "count",
    default: 20_000,
    range: [1, 1_000_000],
    help: "worker streams on this hub; sessions of workers that call, as many",
  },
  {
    field: "watchesMax",
    flag: "watches-max",
    env: "HOLDFAST_WATCHES_MAX",
    unit: "count",
    default: 5_000,
    range: [1, 1_000_000],
    help: "Watch streams on this hub",
  },
  {
    field: "payloadBytesMax",
    flag: "payload-bytes-max",
    env: "HOLDFAST_PAYLOAD_BYTES_MAX",
    unit: "bytes",
    default: MiB,
    range: [KiB, 16 * MiB],
    help: "bytes of a payload",
  },
  {
    field: "resultBytesMax",
    flag: "result-bytes-max",
    env: "HOLDFAST_RESULT_BYTES_MAX",
    unit: "bytes",
    default: MiB,
    range: [KiB, 16 * MiB],
    help: "bytes of a result",
  },
  {
    field: "checkpointBytesMax",
    flag: "checkpoint-bytes-max",
    env: "HOLDFAST_CHECKPOINT_BYTES_MAX",
    unit: "bytes",
    default: MiB,
    range: [KiB, 16 * MiB],
    help: "bytes of a checkpoint",
  },
  {
    field: "effectResultBytesMax",
    flag: "effect-result-bytes-max",
    env: "HOLDFAST_EFFECT_RESULT_BYTES_MAX",
    unit: "bytes",
    default: 64 * KiB,
    range: [KiB, MiB],
    help: "bytes of an effect's result",
  },
  {
    field: "batchJobsMax",
    flag: "batch-jobs-max",
    env: "HOLDFAST_BATCH_JOBS_MAX",
    unit: "count",
    default: 10_000,
    range: [1, 100_000],
    help: "jobs per SubmitBatch",
  },
  {
    field: "creditJobsMax",
    flag: "credit-jobs-max",
    env: "HOLDFAST_CREDIT_JOBS_MAX",
    unit: "count",
    default: 100_000,
    range: [1, 10_000_000],
    help: "outstanding credit of a session, in jobs",
  },
  {
    field: "creditBytesMax",
    flag: "credit-bytes-max",
    env: "HOLDFAST_CREDIT_BYTES_MAX",
    unit: "bytes",
    default: 1024 * MiB,
    range: [MiB, 1024 * 1024 * MiB],
    help: "outstanding credit of a session, in bytes",
  },
  {
    field: "lanesPerTenantMax",
    flag: "lanes-per-tenant-max",
    env: "HOLDFAST_LANES_PER_TENANT_MAX",
    unit: "count",
    default: 10_000,
    range: [1, 1_000_000],
    help: "lanes (combinations of product, queue, kind, priority, capabilities, source, fairness key) of a tenant",
  },
  {
    field: "signalBytesMax",
    flag: "signal-bytes-max",
    env: "HOLDFAST_SIGNAL_BYTES_MAX",
    unit: "bytes",
    default: 64 * KiB,
    range: [KiB, MiB],
    help: "bytes of a signal's payload",
  },
  {
    field: "channelsPerTenantMax",
    flag: "channels-per-tenant-max",
    env: "HOLDFAST_CHANNELS_PER_TENANT_MAX",
    unit: "count",
    default: 10_000,
    range: [1, 1_000_000],
    help: "channels of a tenant, besides those of its jobs and runs",
  },
  {
    field: "signalStreamsMax",
    flag: "signal-streams-max",
    env: "HOLDFAST_SIGNAL_STREAMS_MAX",
    unit: "count",
    default: 20_000,
    range: [1, 1_000_000],
    help: "Publish and Subscribe streams on this hub",
  },
  {
    field: "signalWaitingBytesMax",
    flag: "signal-waiting-bytes-max",
    env: "HOLDFAST_SIGNAL_WAITING_BYTES_MAX",
    unit: "bytes",
    default: 64 * MiB,
    range: [MiB, 4_096 * MiB],
    help: "published bytes waiting for the ledger at which producers are told to pause; a quarter of it ends the pause",
  },
  {
    field: "signalTrimIntervalMs",
    flag: "signal-trim-interval-ms",
    env: "HOLDFAST_SIGNAL_TRIM_INTERVAL_MS",
    unit: "ms",
    default: 30_000,
    range: [100, 86_400_000],
    help: "channels are trimmed by their policies this often",
  },
  {
    field: "laneWindowRefsMax",
    flag: "lane-window-refs-max",
    env: "HOLDFAST_LANE_WINDOW_REFS_MAX",
    unit: "count",
    default: 20_000,
    range: [1_000, 10_000_000],
    help: "waiting jobs per lane that the hub keeps in memory, as refs; the rest waits in the ledger",
  },
  {
    field: "leasesPerMessageMax",
    flag: "leases-per-message-max",
    env: "HOLDFAST_LEASES_PER_MESSAGE_MAX",
    unit: "count",
    default: 128,
    range: [1, 1_000],
    help: "leases in one message to a worker",
  },
  {
    field: "claimsInFlightMax",
    flag: "claims-in-flight-max",
    env: "HOLDFAST_CLAIMS_IN_FLIGHT_MAX",
    unit: "count",
    default: 1_536,
    range: [1, 100_000],
    help: "jobs on their way to be claimed at once",
  },
  {
    field: "queuedItemsMax",
    flag: "queued-items-max",
    env: "HOLDFAST_QUEUED_ITEMS_MAX",
    unit: "count",
    default: 200_000,
    range: [1_000, 10_000_000],
    help: "writes waiting for the ledger; beyond it callers get BACKLOG_FULL",
  },
  {
    field: "queuedBytesMax",
    flag: "queued-bytes-max",
    env: "HOLDFAST_QUEUED_BYTES_MAX",
    unit: "bytes",
    default: 256 * MiB,
    range: [16 * MiB, 16_384 * MiB],
    help: "bytes of writes waiting for the ledger; beyond it callers get BACKLOG_FULL",
  },
  {
    field: "readConnectionsMax",
    flag: "read-connections-max",
    env: "HOLDFAST_READ_CONNECTIONS_MAX",
    unit: "count",
    default: 6,
    range: [1, 100],
    help: "connections to the ledger beside the one that writes",
  },
] as const satisfies readonly HubOption[];

type Row = (typeof HUB_OPTION_TABLE)[number];
type ValueOf<R extends Row> = R["unit"] extends "ms" | "count" | "bytes" | "days"
  ? number
  : R["default"] extends null
    ? string | null
    : string;

/** A hub's whole configuration. Field by field as in HUB_OPTION_TABLE. */
export type HubConfig = { readonly [R in Row as R["field"]]: ValueOf<R> };

/** What may be given explicitly; text is read as from the environment. */
export type HubOptions = {
  readonly [Field in keyof HubConfig]?: HubConfig[Field] | string | number | undefined;
};

/** A value that cannot be used; the message says where it came from and what is allowed. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * The configuration from options, environment and defaults.
 *
 * @throws ConfigError
 */
export function readHubConfig(
  options: HubOptions = {},
  environment: Readonly<Record<string, string | undefined>> = process.env,
): HubConfig {
  const entries = HUB_OPTION_TABLE.map((row: HubOption) => {
    const given = options[row.field as keyof HubConfig];
    if (given !== undefined && given !== null && given !== "")
      return [row.field, readValue(row, given, `--${row.flag}`)];
    const set = environment[row.env];
    if (set !== undefined && set !== "") return [row.field, readValue(row, set, row.env)];
    return [row.field, row.default];
  });
  const config = Object.fromEntries(entries) as HubConfig;
  checkTogether(config);
  return config;
}

function readValue(row: HubOption, given: string | number, source: string): string | number {
  if (row.unit === "address") return readAddress(String(given), source);
  if (row.range === undefined) return readText(row, String(given), source);
  const number = Number(given);
  const [least, most] = row.range;
  if (!Number.isSafeInteger(number) || number < least || number > most)
    throw new ConfigError(
      `${source} must be a whole number from ${least} to ${most} (${row.unit}), not "${given}".`,
    );
  return number;
}

function readText(row: HubOption, text: string, source: string): string {
  const [isAllowed, wanted] = row.form ?? [() => true, ""];
  if (!isAllowed(text))
    throw new ConfigError(`${source} must be ${wanted}${row.isSecret ? "" : `, not "${text}"`}.`);
  return text;
}

function readAddress(text: string, source: string): string {
  const match = /^(.+):(\d{1,5})$/.exec(text);
  if (!match || Number(match[2]) > 65_535)
    throw new ConfigError(
      `${source} must be HOST:PORT, such as 127.0.0.1:7420 or [::1]:7420, not "${text}".`,
    );
  return text;
}

function checkTogether(config: HubConfig): void {
  if ((config.tlsCert === null) !== (config.tlsKey === null))
    throw new ConfigError("TLS needs both --tls-cert and --tls-key; only one was given.");
  if (config.heartbeatIntervalMs * 3 > config.sessionTtlMs)
    throw new ConfigError(
      `The heartbeat interval (${config.heartbeatIntervalMs} ms) must be at most a third of the session TTL (${config.sessionTtlMs} ms): a session has to survive two lost heartbeats.`,
    );
  if (config.batchJobsMax > config.queuedItemsMax)
    throw new ConfigError(
      `batchJobsMax (${config.batchJobsMax}) must not exceed queuedItemsMax (${config.queuedItemsMax}): a full batch could never be taken.`,
    );
  if (config.eventSink === "nats" && config.natsUrl === null)
    throw new ConfigError("--event-sink nats needs --nats-url.");
  if (config.eventDedupeWindowMs > config.eventStreamMaxAgeMs)
    throw new ConfigError("eventDedupeWindowMs must not exceed eventStreamMaxAgeMs.");
  if (config.signalWaitingBytesMax > config.queuedBytesMax)
    throw new ConfigError(
      `signalWaitingBytesMax (${config.signalWaitingBytesMax}) must not exceed queuedBytesMax (${config.queuedBytesMax}): producers are told to pause before the write queue is full.`,
    );
  if (config.creditBytesMax < config.payloadBytesMax + config.checkpointBytesMax)
    throw new ConfigError("creditBytesMax must hold at least one payload with its checkpoint.");
}

/** The configuration as lines for people: every field with its variable, secrets hidden. */
export function describeConfig(config: HubConfig): string[] {
  return HUB_OPTION_TABLE.map((row: HubOption) => {
    const value = config[row.field as keyof HubConfig];
    return `${row.env}=${row.isSecret && value !== null ? "(set)" : (value ?? "(not set)")}`;
  });
}
