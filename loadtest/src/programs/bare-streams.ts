// The limit of worker streams: a grpc-js server that welcomes and echoes as a hub does, and does nothing else. No
// session, no ledger, and no message that is built twice.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import {
  AttachRequestSchema,
  AttachResponseSchema,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { runProgram } from "../run-program.js";
import { tellUsage, type Usage } from "../usage.js";

export interface BareStreamsParams {
  readonly heartbeatIntervalMs: number;
  readonly usageEveryMs: number;
}

export type BareStreamsSays = {
  readonly up: { readonly grpcAddress: string };
  readonly usage: Usage;
};

const { attach } = WorkerService.method;
const sessionTtlMs = 30_000;
const same = (bytes: Buffer) => bytes;

await runProgram<BareStreamsParams, BareStreamsSays>(async ({ heartbeatIntervalMs, usageEveryMs }, say) => {
  const welcome = encode({
    case: "welcome",
    value: {
      sessionId: crypto.randomUUID(),
      sessionTtl: durationFromMs(sessionTtlMs),
      heartbeatInterval: durationFromMs(heartbeatIntervalMs),
    },
  });
  const server = new Server({ "grpc.enable_channelz": 0 });
  server.addService(
    {
      [attach.name]: {
        path: `/${attach.parent.typeName}/${attach.name}`,
        requestStream: true,
        responseStream: true,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    { [attach.name]: (call: ServerDuplexStream<Buffer, Buffer>) => answer(call, welcome) },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  say("up", { grpcAddress: `127.0.0.1:${port}` });
  const stopTelling = tellUsage(say, usageEveryMs);
  return async () => {
    stopTelling();
    server.forceShutdown();
  };
});

function answer(call: ServerDuplexStream<Buffer, Buffer>, welcome: Buffer): void {
  let nonce = 0n;
  call.on("data", (bytes: Buffer) => {
    const { message } = fromBinary(AttachRequestSchema, bytes);
    if (message.case === "hello") call.write(welcome);
    if (message.case !== "heartbeat") return;
    nonce += 1n;
    const timeLeft = durationFromMs(sessionTtlMs);
    call.write(encode({ case: "heartbeat", value: { echo: message.value.nonce, nonce, timeLeft } }));
  });
  call.on("end", () => call.end());
  call.on("error", () => undefined);
}

function encode(message: NonNullable<MessageInitShape<typeof AttachResponseSchema>["message"]>): Buffer {
  return Buffer.from(toBinary(AttachResponseSchema, create(AttachResponseSchema, { message })));
}
