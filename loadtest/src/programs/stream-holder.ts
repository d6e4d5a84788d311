// Many workers that have nothing to do, each on a TCP connection of its own: hello, credit, and a heartbeat that echoes
// the hub's nonce as often as the hub asks for. No SDK, whose journals and threads would be measured too.
import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  type AttachRequest,
  AttachRequestSchema,
  AttachResponseSchema,
  WorkerService,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";

export interface HolderParams {
  readonly address: string;
  readonly streams: number;
}

export type HolderSays = {
  /** Every session is live. */
  readonly held: { readonly streams: number };
};

const { attach } = WorkerService.method;
const path = `/${attach.parent.typeName}/${attach.name}`;
const openedAtOnce = 50;
const triesMax = 5;
const tryAgainMs = 1_000;
const credit = { jobs: 32, bytes: 1n << 20n };

await runProgram<HolderParams, HolderSays>(async ({ address, streams }, say, signal) => {
  let left = streams;
  const openInTurn = async () => {
    while (left > 0) {
      signal.throwIfAborted();
      left -= 1;
      await openPatiently(address, `bench-${left}`, signal);
    }
  };
  // Every stream waits for it.
  setMaxListeners(0, signal);
  await Promise.all(Array.from({ length: openedAtOnce }, openInTurn));
  say("held", { streams });
  return undefined;
});

/** As a worker would: a hub that is not up to it just now is asked again. */
async function openPatiently(address: string, workerName: string, signal: AbortSignal): Promise<void> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await openStream(address, workerName, signal);
    } catch (error) {
      if (tried === triesMax) throw error;
      await delay(tryAgainMs, undefined, { signal });
    }
  }
}

/** Resolves when the session is live; the whole program ends when a stream does before it is told to. */
function openStream(address: string, workerName: string, signal: AbortSignal): Promise<void> {
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.service_config_disable_resolution": 1,
  });
  const call = client.makeBidiStreamRequest(
    path,
    (bytes: Uint8Array) => Buffer.from(bytes),
    (bytes: Buffer) => bytes,
    new Metadata(),
    {},
  );
  const send = (message: AttachRequest["message"]) =>
    call.write(toBinary(AttachRequestSchema, create(AttachRequestSchema, { message })));
  let isLive = false;
  let nonce = 0n;
  let echo = 0n;
  const beat = () => {
    nonce += 1n;
    send({ case: "heartbeat", value: { $typeName: "holdfast.v1.Heartbeat", nonce, echo } });
  };
  return new Promise((resolve, reject) => {
    call.on("error", (error) => {
      if (signal.aborted) return;
      client.close();
      reject(error);
      if (!isLive) return;
      // It is not held any more, and what is measured is something else.
      process.stderr.write(`${workerName}: ${error.message}\n`);
      process.exit(1);
    });
    call.on("data", (bytes: Buffer) => {
      const { message } = fromBinary(AttachResponseSchema, bytes);
      if (message.case === "heartbeat") echo = message.value.nonce;
      if (message.case !== "welcome") return;
      send({ case: "credit", value: { $typeName: "holdfast.v1.Credit", ...credit } });
      const everyMs = message.value.heartbeatInterval ? durationMs(message.value.heartbeatInterval) : 5_000;
      isLive = true;
      void beatForever(beat, everyMs, signal);
      resolve();
    });
    send({
      case: "hello",
      value: {
        $typeName: "holdfast.v1.Hello",
        protocolVersion: 1,
        workerName,
        kinds: [benchKind],
        capabilities: [],
        products: [],
        queues: [],
        sessionId: "",
        held: [],
      },
    });
  });
}

/** The first beat comes at any time of an interval, as with workers that came at different times. */
async function beatForever(beat: () => void, everyMs: number, signal: AbortSignal): Promise<void> {
  await delay(Math.random() * everyMs, undefined, { signal, ref: false }).catch(() => undefined);
  if (signal.aborted) return;
  beat();
  const beating = setInterval(beat, everyMs);
  signal.addEventListener("abort", () => clearInterval(beating), { once: true });
}
