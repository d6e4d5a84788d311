import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, status } from "@grpc/grpc-js";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import {
  type AttachRequest,
  AttachRequestSchema,
  type AttachResponse,
  AttachResponseSchema,
  type CheckpointSavedSchema,
  type Hello,
  type JobResult,
  type LeaseSchema,
  type RevokedLeaseSchema,
  Verdict,
  type WelcomeSchema,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { deserializer, methodPath, serializer } from "../src/grpc/method-codec.js";

type LeaseInit = MessageInitShape<typeof LeaseSchema>;
type WelcomeInit = MessageInitShape<typeof WelcomeSchema>;

/** What a hub does by itself. Everything may be changed while it runs. */
export type Script = {
  ttlMs: number;
  heartbeatMs: number;
  /** Answers a hello; undefined: says nothing. Default: a new session, or the named one with every lease kept. */
  welcome: (hello: Hello, hub: ScriptedHub) => WelcomeInit | undefined;
  /** Whether heartbeats are echoed. */
  echoes: boolean;
  /** What echoes say of the time left. Default: `ttlMs`. */
  timeLeftMs: number | undefined;
  /** The verdict on a result; undefined: none. Default COMMITTED. */
  verdict: (result: JobResult) => Verdict | undefined;
};

/** A hub that plays a script instead of keeping a ledger: its streams are in the hands of the test. */
export class ScriptedHub {
  readonly script: Script;
  readonly streams: HubStream[] = [];
  readonly authorizations: string[] = [];
  port = 0;
  sessions = 0;
  delivery = 0n;
  #server = new Server();

  constructor(script: Partial<Script> = {}) {
    this.script = {
      ttlMs: 2_000,
      heartbeatMs: 200,
      welcome: (hello, hub) => ({
        sessionId: hello.sessionId === "" ? `session-${++hub.sessions}` : hello.sessionId,
        resumed: hello.sessionId !== "",
        held: hello.held.map(({ jobId, fencingToken }) => ({ jobId, fencingToken, kept: true })),
      }),
      echoes: true,
      timeLeftMs: undefined,
      verdict: () => Verdict.COMMITTED,
      ...script,
    };
  }

  static async start(script: Partial<Script> = {}, port = 0): Promise<ScriptedHub> {
    const hub = new ScriptedHub(script);
    await hub.listen(port);
    return hub;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Listens; again on the same port after `stop`, like a hub that was restarted. */
  async listen(port = this.port): Promise<void> {
    this.#server = new Server({ "grpc.max_receive_message_length": 64 << 20 });
    const method = WorkerService.method.attach;
    const attach = {
      path: methodPath(method),
      requestStream: true,
      responseStream: true,
      requestSerialize: serializer(AttachRequestSchema),
      requestDeserialize: deserializer(AttachRequestSchema),
      responseSerialize: serializer(AttachResponseSchema),
      responseDeserialize: deserializer(AttachResponseSchema),
    };
    this.#server.addService(
      { attach },
      {
        attach: (call: ServerDuplexStream<AttachRequest, AttachResponse>) => {
          this.authorizations.push(String(call.metadata.get("authorization")[0] ?? ""));
          this.streams.push(new HubStream(call, this));
        },
      },
    );
    this.port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
  }

  /** Cuts every connection. */
  stop(): void {
    this.#server.forceShutdown();
  }

  /** The n-th stream (from 1), once its hello has come. */
  async stream(n: number): Promise<HubStream> {
    await until(() => this.streams[n - 1]?.hello !== undefined, `stream ${n}`);
    return this.streams[n - 1] as HubStream;
  }

  /** The n-th stream, once it is live. */
  async live(n = 1): Promise<HubStream> {
    const stream = await this.stream(n);
    await until(() => stream.isWelcomed, `the welcome on stream ${n}`);
    return stream;
  }
}

/** One worker stream, as the hub sees it. */
export class HubStream {
  hello: Hello | undefined;
  isWelcomed = false;
  isEnded = false;
  readonly received: AttachRequest[] = [];
  readonly results: JobResult[] = [];
  credit = { jobs: 0, bytes: 0 };
  creditMessages = 0;
  readonly #call: ServerDuplexStream<AttachRequest, AttachResponse>;
  readonly #hub: ScriptedHub;
  #hubNonce = 0n;

  constructor(call: ServerDuplexStream<AttachRequest, AttachResponse>, hub: ScriptedHub) {
    this.#call = call;
    this.#hub = hub;
    call.on("data", (request: AttachRequest) => this.#receive(request));
    call.on("error", () => {
      this.isEnded = true;
    });
    call.on("cancelled", () => {
      this.isEnded = true;
    });
    call.on("end", () => {
      this.isEnded = true;
      call.end();
    });
  }

  #receive(request: AttachRequest): void {
    this.received.push(request);
    const { message } = request;
    switch (message.case) {
      case "hello": {
        this.hello = message.value;
        const welcome = this.#hub.script.welcome(message.value, this.#hub);
        if (welcome !== undefined) this.welcome(welcome);
        return;
      }
      case "credit":
        this.creditMessages++;
        this.credit.jobs += message.value.jobs;
        this.credit.bytes += Number(message.value.bytes);
        return;
      case "report": {
        this.results.push(...message.value.results);
        const verdicts = message.value.results.flatMap((result) => {
          const verdict = this.#hub.script.verdict(result);
          return verdict === undefined
            ? []
            : [{ jobId: result.jobId, fencingToken: result.fencingToken, verdict }];
        });
        if (verdicts.length > 0) this.send({ case: "verdicts", value: { verdicts } });
        return;
      }
      case "heartbeat":
        if (this.#hub.script.echoes) this.echo(message.value.nonce);
        return;
    }
  }

  send(message: MessageInitShape<typeof AttachResponseSchema>["message"] & {}): void {
    this.#call.write(create(AttachResponseSchema, { message }));
  }

  welcome(init: WelcomeInit): void {
    const { ttlMs, heartbeatMs } = this.#hub.script;
    this.isWelcomed = true;
    this.send({
      case: "welcome",
      value: { sessionTtl: durationFromMs(ttlMs), heartbeatInterval: durationFromMs(heartbeatMs), ...init },
    });
  }

  echo(nonce: bigint): void {
    const timeLeft = durationFromMs(this.#hub.script.timeLeftMs ?? this.#hub.script.ttlMs);
    this.send({ case: "heartbeat", value: { echo: nonce, nonce: ++this.#hubNonce, timeLeft } });
  }

  /** Sends leases in one message, and spends their credit. */
  lease(...leases: LeaseInit[]): void {
    const full = leases.map((lease) => ({
      fencingToken: 1n,
      attempt: 1,
      maxAttempts: 5,
      kind: "work",
      product: "default",
      queue: "default",
      disconnectPolicy: DisconnectPolicy.STOP,
      ...lease,
    }));
    this.credit.jobs -= leases.length;
    for (const { payload, checkpoint } of leases) {
      this.credit.bytes -= (payload?.length ?? 0) + (checkpoint?.state?.length ?? 0);
    }
    this.send({ case: "leases", value: { delivery: ++this.#hub.delivery, leases: full } });
  }

  verdict(verdict: Verdict, ...jobIds: string[]): void {
    const refusal = { reason: "PAYLOAD_TOO_LARGE", message: "larger than result_bytes_max" };
    const verdicts = jobIds.map((jobId) => ({
      jobId,
      fencingToken: 1n,
      verdict,
      ...(verdict === Verdict.REFUSED ? { refusal } : {}),
    }));
    this.send({ case: "verdicts", value: { verdicts } });
  }

  revoke(...leases: MessageInitShape<typeof RevokedLeaseSchema>[]): void {
    this.send({ case: "revoke", value: { leases: leases.map((lease) => ({ fencingToken: 1n, ...lease })) } });
  }

  checkpointSaved(init: MessageInitShape<typeof CheckpointSavedSchema>): void {
    this.send({ case: "checkpointSaved", value: { fencingToken: 1n, verdict: Verdict.COMMITTED, ...init } });
  }

  /** Every message of one case, in order. */
  all<Case extends NonNullable<AttachRequest["message"]["case"]>>(name: Case) {
    return this.received.flatMap(({ message }) =>
      message.case === name
        ? [message.value as Extract<AttachRequest["message"], { case: Case }>["value"]]
        : [],
    );
  }

  /** Ids of the jobs whose results came on this stream. */
  get reported(): string[] {
    return this.results.map(({ jobId }) => jobId);
  }

  /** Leases given back on this stream, as "job started" or "job waiting". */
  get released(): string[] {
    return this.all("release").flatMap(({ leases }) =>
      leases.map(({ jobId, started }) => `${jobId} ${started ? "started" : "waiting"}`),
    );
  }

  /** Reads nothing more, until `resume`. */
  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  /** Cuts the stream, as a hub that died would. */
  cut(): void {
    this.fail(status.UNAVAILABLE, "");
  }

  /** Ends the stream with an error as the hub's error mapping writes it. */
  fail(code: status, reason: string, metadata: Record<string, string> = {}): void {
    const trailer = new Metadata();
    if (reason !== "") trailer.set("grpc-status-details-bin", statusDetails(code, reason, metadata));
    this.#call.emit("error", { code, details: `scripted ${reason}`, metadata: trailer });
  }
}

/** The bytes of a google.rpc.Status with one google.rpc.ErrorInfo. */
export function statusDetails(code: number, reason: string, metadata: Record<string, string>): Buffer {
  const info = new BinaryWriter();
  info.tag(1, WireType.LengthDelimited).string(reason);
  info.tag(2, WireType.LengthDelimited).string("holdfast");
  for (const [key, value] of Object.entries(metadata)) {
    info.tag(3, WireType.LengthDelimited).fork();
    info.tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value).join();
  }
  const details = new BinaryWriter();
  details.tag(1, WireType.Varint).int32(code);
  details.tag(2, WireType.LengthDelimited).string("scripted");
  details.tag(3, WireType.LengthDelimited).fork();
  details.tag(1, WireType.LengthDelimited).string("type.googleapis.com/google.rpc.ErrorInfo");
  details.tag(2, WireType.LengthDelimited).bytes(info.finish()).join();
  return Buffer.from(details.finish());
}

/** The bytes that a result holds, as text. */
export function resultText(result: JobResult | undefined): string {
  const outcome = result?.outcome?.outcome;
  return outcome?.case === "success"
    ? Buffer.from(outcome.value.result).toString()
    : `not a success: ${outcome?.case}`;
}

/** Waits until a condition holds; the bound is only there to fail instead of hanging. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const giveUpAt = performance.now() + 25_000;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
