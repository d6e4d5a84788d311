import { readFileSync } from "node:fs";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";

const HEALTH_CHECK = "/grpc.health.v1.Health/Check";
const ANSWER_WITHIN_MS = 3_000;
const SERVING = 1;

export type GrpcHealth =
  | { readonly kind: "serving" }
  | { readonly kind: "not serving"; readonly healthStatus: number }
  /** Something answers, but does not know the health service. */
  | { readonly kind: "no health service"; readonly message: string }
  | { readonly kind: "unreachable"; readonly message: string };

/** Asks the standard health service of a gRPC server about the whole of it. */
export function askGrpcHealth(
  address: string,
  tls: { readonly caFile: string | undefined } | undefined,
): Promise<GrpcHealth> {
  const client = new Client(
    address,
    tls === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(tls.caFile === undefined ? null : readFileSync(tls.caFile)),
  );
  return new Promise<GrpcHealth>((resolve) => {
    client.makeUnaryRequest(
      HEALTH_CHECK,
      // Both messages have one field; an empty request asks about the server as a whole.
      () => Buffer.alloc(0),
      decodeStatus,
      undefined,
      { deadline: Date.now() + ANSWER_WITHIN_MS },
      (error, healthStatus = 0) => resolve(error === null ? answered(healthStatus) : failed(error)),
    );
  }).finally(() => client.close());
}

function answered(healthStatus: number): GrpcHealth {
  return healthStatus === SERVING ? { kind: "serving" } : { kind: "not serving", healthStatus };
}

function failed(error: ServiceError): GrpcHealth {
  return error.code === status.UNIMPLEMENTED
    ? { kind: "no health service", message: error.details }
    : { kind: "unreachable", message: error.details };
}

function decodeStatus(bytes: Buffer): number {
  const reader = new BinaryReader(bytes);
  let healthStatus = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) {
      healthStatus = reader.int32();
    } else {
      reader.skip(wireType, field);
    }
  }
  return healthStatus;
}
