// A worker of raw messages that lives as the protocol asks: it heartbeats, echoes and acknowledges, until a test
// tells it to misbehave.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { OutcomeSchema } from "@holdfast/gen/holdfast/v1/job_pb";
import type { ScoreWeightsSchema } from "@holdfast/gen/holdfast/v1/score_pb";
import type {
  HeldLeaseSchema,
  Hello,
  JobVerdict,
  Lease,
  Welcome,
} from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { RawClient } from "./raw-client.js";
import type { RawStream } from "./raw-stream.js";

export interface RawWorker {
  readonly stream: RawStream;
  readonly welcome: Welcome;
  /** Every lease that came, in order. */
  readonly leases: readonly Lease[];
  /** The next lease that no call had before. */
  lease(): Promise<Lease>;
  credit(jobs: number, bytes?: number): void;
  report(lease: LeaseKey, outcome: OutcomeInit): Promise<JobVerdict>;
  succeed(lease: LeaseKey, result?: string): Promise<JobVerdict>;
  /** What has been delivered so far. */
  delivered(): bigint;
  /** Stops heartbeats: the worker falls silent. */
  fallSilent(): void;
  /** Heartbeats go on, but deliveries are acknowledged no more. */
  stopAcknowledging(): void;
  /** Leaves without a word. */
  vanish(): void;
}

export type LeaseKey = Pick<Lease, "jobId" | "fencingToken">;
export type OutcomeInit = NonNullable<MessageInitShape<typeof OutcomeSchema>["outcome"]>;
export type HelloInit = Partial<
  Pick<Hello, "workerName" | "kinds" | "capabilities" | "products" | "queues" | "sessionId">
> & {
  readonly held?: MessageInitShape<typeof HeldLeaseSchema>[];
  readonly weights?: MessageInitShape<typeof ScoreWeightsSchema>;
};

const bytesMax = 64 << 20;
const beatMs = 150;

export async function attachWorker(client: RawClient, hello: HelloInit = {}): Promise<RawWorker> {
  const stream = client.attach();
  const leases: Lease[] = [];
  let unread = 0;
  let delivered = 0n;
  let newestNonce = 0n;
  let ownNonce = 0n;
  let isAcknowledging = true;
  stream.onMessage((message) => {
    if (message.case === "heartbeat") newestNonce = message.value.nonce;
    if (message.case !== "leases") return;
    if (isAcknowledging) delivered = message.value.delivery;
    leases.push(...message.value.leases);
  });
  stream.send({ case: "hello", value: { ...greeting, ...hello } });
  const welcome = await stream.next("welcome");
  const beats = setInterval(() => {
    ownNonce += 1n;
    stream.send({ case: "heartbeat", value: { nonce: ownNonce, echo: newestNonce } }, delivered);
  }, beatMs);
  void stream.ended.then(() => clearInterval(beats));

  const report = async (lease: LeaseKey, outcome: OutcomeInit): Promise<JobVerdict> => {
    const { jobId, fencingToken } = lease;
    const results = [{ jobId, fencingToken, outcome: { outcome } }];
    stream.send({ case: "report", value: { results } }, delivered);
    const isMine = (verdict: JobVerdict) => verdict.jobId === jobId && verdict.fencingToken === fencingToken;
    const { verdicts } = await stream.next("verdicts", (batch) => batch.verdicts.some(isMine));
    return verdicts.find(isMine) as JobVerdict;
  };

  return {
    stream,
    welcome,
    leases,
    report,
    async lease() {
      while (leases.length <= unread) await stream.next("leases");
      unread += 1;
      return leases[unread - 1] as Lease;
    },
    credit: (jobs, bytes = bytesMax) =>
      stream.send({ case: "credit", value: { jobs, bytes: BigInt(bytes) } }, delivered),
    succeed: (lease, result = "done") => report(lease, success(result)),
    delivered: () => delivered,
    fallSilent: () => clearInterval(beats),
    stopAcknowledging: () => {
      isAcknowledging = false;
    },
    vanish: () => {
      clearInterval(beats);
      stream.cancel();
    },
  };
}

export function keyOf({ jobId, fencingToken }: LeaseKey): LeaseKey {
  return { jobId, fencingToken };
}

export const greeting = { protocolVersion: 1, workerName: "raw", kinds: ["work"] };

export function success(result: string): OutcomeInit {
  return { case: "success", value: { result: new TextEncoder().encode(result), contentType: "text/plain" } };
}

export function failure(
  code: string,
  more: { permanent?: boolean; retryAfterMs?: number } = {},
): OutcomeInit {
  const { permanent = false, retryAfterMs = 0 } = more;
  const retryAfter = {
    seconds: BigInt(Math.floor(retryAfterMs / 1_000)),
    nanos: (retryAfterMs % 1_000) * 1e6,
  };
  return { case: "failure", value: { code, message: `because of ${code}`, permanent, retryAfter } };
}
