// The least that a hub can be, as the limit beside the real one: a grpc-js server that welcomes, echoes, commits a row
// for each job that is submitted and each message of results, and sends jobs down the stream that attached last. No
// sessions, lanes, fences or events, and nothing outlives it.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { type JobSpec, JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import {
  JobService,
  SubmitRequestSchema,
  SubmitResponseSchema,
} from "@holdfast/gen/holdfast/v1/job_service_pb";
import {
  AttachRequestSchema,
  AttachResponseSchema,
  type Report,
  Verdict,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { runProgram } from "../run-program.js";
import { tellUsage, type Usage } from "../usage.js";

export interface BareHubParams {
  readonly databaseUrl: string;
  readonly usageEveryMs?: number;
}

export type BareHubSays = {
  readonly up: { readonly grpcAddress: string };
  readonly usage: Usage;
};

type Stream = ServerDuplexStream<Buffer, Buffer>;

const { attach } = WorkerService.method;
const { submit } = JobService.method;
/** As a hub asks for by default. */
const sessionTtlMs = 30_000;
const heartbeatIntervalMs = 5_000;
const bytesAsTheyAre = {
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

class BareHub {
  readonly #client: pg.Client;
  readonly #welcome: Buffer;
  #stream: Stream | undefined;
  #delivery = 0n;

  constructor(client: pg.Client) {
    this.#client = client;
    this.#welcome = encode({
      case: "welcome",
      value: {
        sessionId: crypto.randomUUID(),
        sessionTtl: durationFromMs(sessionTtlMs),
        heartbeatInterval: durationFromMs(heartbeatIntervalMs),
      },
    });
  }

  /** Answers the job's id once it is committed and on its way. */
  async submit(request: Buffer): Promise<Buffer> {
    const job = fromBinary(SubmitRequestSchema, request).job as JobSpec;
    const jobId = uuidv7();
    await this.#client.query({
      name: "insert",
      text: "insert into job (id, payload) values ($1, $2)",
      values: [jobId, job.payload],
    });
    this.#delivery += 1n;
    const { kind, payload, contentType } = job;
    const lease = { jobId, fencingToken: 1n, attempt: 1, maxAttempts: 1, kind, payload, contentType };
    this.#stream?.write(encode({ case: "leases", value: { delivery: this.#delivery, leases: [lease] } }));
    return Buffer.from(toBinary(SubmitResponseSchema, create(SubmitResponseSchema, { jobId })));
  }

  attach(call: Stream): void {
    let nonce = 0n;
    this.#stream = call;
    call.on("data", (bytes: Buffer) => {
      const { message } = fromBinary(AttachRequestSchema, bytes);
      if (message.case === "hello") call.write(this.#welcome);
      if (message.case === "report") this.#report(call, message.value);
      if (message.case !== "heartbeat") return;
      nonce += 1n;
      const timeLeft = durationFromMs(sessionTtlMs);
      call.write(encode({ case: "heartbeat", value: { echo: message.value.nonce, nonce, timeLeft } }));
    });
    call.on("end", () => call.end());
    call.on("error", () => undefined);
  }

  #report(call: Stream, { results }: Report): void {
    const ids = results.map(({ jobId }) => jobId);
    const verdicts = results.map(({ jobId, fencingToken }) => ({
      jobId,
      fencingToken,
      verdict: Verdict.COMMITTED,
      state: JobState.SUCCEEDED,
    }));
    this.#client
      .query({ name: "end", text: "update job set done_at = now() where id = any($1)", values: [ids] })
      .then(
        () => call.write(encode({ case: "verdicts", value: { verdicts } })),
        (error: Error) => call.destroy(error),
      );
  }
}

function same(bytes: Buffer): Buffer {
  return bytes;
}

function encode(message: NonNullable<MessageInitShape<typeof AttachResponseSchema>["message"]>): Buffer {
  return Buffer.from(toBinary(AttachResponseSchema, create(AttachResponseSchema, { message })));
}

await runProgram<BareHubParams, BareHubSays>(async ({ databaseUrl, usageEveryMs }, say) => {
  const client = new pg.Client({ connectionString: databaseUrl, pipeline: true });
  await client.connect();
  await client.query("create table job (id uuid primary key, payload bytea not null, done_at timestamptz)");
  const hub = new BareHub(client);
  const server = new Server({ "grpc.enable_channelz": 0 });
  server.addService(
    {
      [submit.name]: {
        path: `/${submit.parent.typeName}/${submit.name}`,
        requestStream: false,
        responseStream: false,
        ...bytesAsTheyAre,
      },
      [attach.name]: {
        path: `/${attach.parent.typeName}/${attach.name}`,
        requestStream: true,
        responseStream: true,
        ...bytesAsTheyAre,
      },
    },
    {
      [submit.name]: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        hub.submit(call.request).then(
          (response) => answer(null, response),
          (error: Error) => answer(error),
        );
      },
      [attach.name]: (call: Stream) => hub.attach(call),
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  say("up", { grpcAddress: `127.0.0.1:${port}` });
  const stopTelling = usageEveryMs === undefined ? null : tellUsage(say, usageEveryMs);
  return async () => {
    stopTelling?.();
    server.forceShutdown();
    await client.end();
  };
});
