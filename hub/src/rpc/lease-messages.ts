// Leases and verdicts: as messages, and as the bytes of a whole message of a lease stream. What every one of them has
// is written field by field there, because a hub does this for every job and the general encoder takes three times as
// long; the tests hold the two to the same.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DisconnectPolicy } from "@holdfast/gen/holdfast/v1/job_pb";
import { JobVerdictSchema, LeaseSchema, Verdict } from "@holdfast/gen/holdfast/v1/worker_service_pb";
import type { GrantedLease } from "../domain/lease.js";
import type { LaneLease, ResultVerdict } from "../services/session-messages.js";
import { EncodedResponse } from "./encoded.js";
import { toChildrenMessage } from "./run-messages.js";

/** Field number << 3 | wire type, of holdfast.v1.AttachResponse. */
const responseTag = { leases: 0x12, verdicts: 0x1a } as const;

/** The same, of holdfast.v1.Leases. */
const leasesTag = { delivery: 0x08, leases: 0x12 } as const;

/** The same, of holdfast.v1.Lease. */
const leaseTag = {
  jobId: 0x0a,
  fencingToken: 0x10,
  attempt: 0x18,
  maxAttempts: 0x20,
  kind: 0x2a,
  product: 0x32,
  queue: 0x3a,
  payload: 0x42,
  contentType: 0x4a,
  disconnectPolicy: 0x60,
  submittedAt: 0x8a,
} as const;

/** The same, of google.protobuf.Timestamp. */
const timestampTag = { seconds: 0x08, nanos: 0x10 } as const;

/** The same, of holdfast.v1.Verdicts. */
const verdictsTag = { verdicts: 0x0a } as const;

/** The same, of holdfast.v1.JobVerdict. */
const verdictTag = { jobId: 0x0a, fencingToken: 0x10, verdict: 0x18, state: 0x20 } as const;

/** An AttachResponse with leases. */
export function encodeLeases(delivery: number, leases: readonly LaneLease[]): EncodedResponse {
  const writer = new BinaryWriter();
  writer.uint32(responseTag.leases).fork();
  writer.uint32(leasesTag.delivery).int64(delivery);
  for (const lease of leases) {
    writer.uint32(leasesTag.leases).fork();
    writeLease(writer, lease);
    writer.join();
  }
  writer.join();
  return new EncodedResponse(writer.finish());
}

function writeLease(writer: BinaryWriter, { lease, lane }: LaneLease): void {
  writer.uint32(leaseTag.jobId).string(lease.jobId);
  writer.uint32(leaseTag.fencingToken).int64(lease.fencingToken);
  writer.uint32(leaseTag.attempt).int32(lease.attempt);
  writer.uint32(leaseTag.maxAttempts).int32(lease.attemptsMax);
  writer.uint32(leaseTag.kind).string(lane.kind);
  writer.uint32(leaseTag.product).string(lane.product);
  writer.uint32(leaseTag.queue).string(lane.queue);
  writer.uint32(leaseTag.payload).bytes(lease.payload);
  if (lease.contentType !== "") writer.uint32(leaseTag.contentType).string(lease.contentType);
  writer.uint32(leaseTag.disconnectPolicy).int32(disconnectPolicyOf(lease));
  const { seconds, nanos } = timestampFromMs(Math.round(lease.submittedAtMs));
  writer.uint32(leaseTag.submittedAt).fork();
  writer.uint32(timestampTag.seconds).int64(seconds);
  writer.uint32(timestampTag.nanos).int32(nanos);
  writer.join();
  const rare = rareLeaseFields(lease);
  if (Object.keys(rare).length > 0) writer.raw(toBinary(LeaseSchema, create(LeaseSchema, rare)));
}

/** An AttachResponse with verdicts. */
export function encodeVerdicts(verdicts: readonly ResultVerdict[]): EncodedResponse {
  const writer = new BinaryWriter();
  writer.uint32(responseTag.verdicts).fork();
  for (const result of verdicts) {
    writer.uint32(verdictsTag.verdicts);
    if (result.verdict.type === "committed") {
      writer.fork();
      writer.uint32(verdictTag.jobId).string(result.jobId);
      writer.uint32(verdictTag.fencingToken).int64(result.fencingToken);
      writer.uint32(verdictTag.verdict).int32(Verdict.COMMITTED);
      writer.uint32(verdictTag.state).int32(result.verdict.state);
      writer.join();
    } else writer.bytes(toBinary(JobVerdictSchema, create(JobVerdictSchema, toVerdictMessage(result))));
  }
  writer.join();
  return new EncodedResponse(writer.finish());
}

export function toLeaseMessage({ lease, lane }: LaneLease): MessageInitShape<typeof LeaseSchema> {
  return {
    jobId: lease.jobId,
    fencingToken: lease.fencingToken,
    attempt: lease.attempt,
    maxAttempts: lease.attemptsMax,
    kind: lane.kind,
    product: lane.product,
    queue: lane.queue,
    payload: lease.payload as Uint8Array<ArrayBuffer>,
    contentType: lease.contentType,
    disconnectPolicy: disconnectPolicyOf(lease),
    submittedAt: timestampFromMs(Math.round(lease.submittedAtMs)),
    ...rareLeaseFields(lease),
  };
}

function disconnectPolicyOf({ options }: GrantedLease): DisconnectPolicy {
  return options.finishAndReport ? DisconnectPolicy.FINISH_AND_REPORT : DisconnectPolicy.STOP;
}

/** What few leases have. */
function rareLeaseFields(lease: GrantedLease): MessageInitShape<typeof LeaseSchema> {
  const { options } = lease;
  return {
    ...(options.replay && { originJobId: options.replay.originId }),
    ...(lease.checkpoint && {
      checkpoint: {
        sequence: lease.checkpoint.sequence,
        state: lease.checkpoint.state as Uint8Array<ArrayBuffer>,
      },
    }),
    ...(lease.deadlineMs !== null && { deadline: timestampFromMs(Math.round(lease.deadlineMs)) }),
    ...(options.finishAndReport &&
      options.finishAndReport.limitMs > 0 && {
        disconnectLimit: durationFromMs(options.finishAndReport.limitMs),
      }),
    ...(options.traceContext && { traceContext: options.traceContext }),
    ...(options.labels && { labels: { ...options.labels } }),
    ...(options.idempotencyKey && { idempotencyKey: options.idempotencyKey }),
    ...(lease.children && { children: toChildrenMessage(lease.jobId, lease.children) }),
  };
}

export function toVerdictMessage(result: ResultVerdict): MessageInitShape<typeof JobVerdictSchema> {
  const { jobId, fencingToken, verdict } = result;
  switch (verdict.type) {
    case "committed":
      return { jobId, fencingToken, verdict: Verdict.COMMITTED, state: verdict.state as number };
    case "duplicate":
      return { jobId, fencingToken, verdict: Verdict.DUPLICATE };
    case "stale":
      return { jobId, fencingToken, verdict: Verdict.STALE };
    case "refused": {
      const { reason, message, metadata } = verdict.refusal;
      const refusal = { reason, message, metadata: { ...metadata } };
      return { jobId, fencingToken, verdict: Verdict.REFUSED, refusal };
    }
  }
}
