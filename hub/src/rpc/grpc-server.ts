import type { DescFile } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation, service as healthService } from "grpc-health-check";
import { splitAddress } from "../domain/address.js";
import type { CallGuard } from "./call-guard.js";
import { mountGrpc } from "./grpc-mount.js";
import type { ImplementedService } from "./implementation.js";
import { messageBytesMax } from "./limits.js";

export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface RunningServer {
  /** HOST:PORT with the port that was really taken. */
  readonly address: string;
  /** Refuses new calls, lets running ones end until the grace is over, then ends them. */
  stop(graceMs: number): Promise<void>;
}

const serverOptions = {
  "grpc.max_receive_message_length": messageBytesMax,
  "grpc.max_send_message_length": messageBytesMax,
  // Below the idle timeouts of common proxies (60 s), so that an idle stream is not cut.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.http2.min_time_between_pings_ms": 5_000,
  "grpc-node.flow_control_window": 4 << 20,
  // Counts every call for a service that is not served here.
  "grpc.enable_channelz": 0,
};

/**
 * Serves gRPC with standard health checking and server reflection.
 *
 * @throws when the address cannot be listened on
 */
export async function startGrpcServer(
  listen: string,
  tls: TlsFiles | null,
  services: readonly ImplementedService[],
  guard: CallGuard,
  onDefect: (error: unknown) => void,
): Promise<RunningServer> {
  const server = new Server(serverOptions);
  mountGrpc(server, services, guard, onDefect);
  const names = services.map(({ desc }) => desc.typeName);
  const health = new HealthImplementation(
    Object.fromEntries(["", ...names].map((name) => [name, "SERVING"] as const)),
  );
  health.addToServer(server as unknown as Parameters<HealthImplementation["addToServer"]>[0]);
  const reflected = [...names, "grpc.health.v1.Health"];
  new ReflectionService(describe(services), { services: reflected }).addToServer(server);
  const credentials = tls
    ? ServerCredentials.createSsl(null, [{ cert_chain: tls.cert, private_key: tls.key }])
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const { host } = splitAddress(listen);
  return {
    address: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    stop: async (graceMs) => {
      for (const name of ["", ...names]) health.setStatus(name, "NOT_SERVING");
      const force = setTimeout(() => server.forceShutdown(), graceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(force);
    },
  };
}

type ReflectedFiles = ConstructorParameters<typeof ReflectionService>[0];

/** What the reflection service reads its files from: each file once, after those that it imports. */
function describe(services: readonly ImplementedService[]): ReflectedFiles {
  const files = new Map<string, Buffer>();
  const add = (file: DescFile) => {
    if (files.has(file.name)) return;
    for (const imported of file.dependencies) add(imported);
    files.set(file.name, Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
  };
  for (const { desc } of services) add(desc.file);
  const { fileDescriptorProtos } = (healthService as unknown as HealthDefinition).Check.requestType;
  for (const bytes of fileDescriptorProtos) {
    const file = nameMapEntries(fromBinary(FileDescriptorProtoSchema, bytes));
    files.set(file.name, Buffer.from(toBinary(FileDescriptorProtoSchema, file)));
  }
  return {
    holdfast: {
      format: "Protocol Buffer 3 DescriptorProto",
      type: {},
      fileDescriptorProtos: [...files.values()],
    },
  } as ReflectedFiles;
}

/** As @grpc/proto-loader makes it: a message's definition brings the files that describe it. */
interface HealthDefinition {
  readonly Check: { readonly requestType: { readonly fileDescriptorProtos: readonly Buffer[] } };
}

/** protobufjs names the entry message of a map field freely; descriptors that other languages accept may not. */
function nameMapEntries(file: FileDescriptorProto): FileDescriptorProto {
  for (const message of file.messageType)
    for (const field of message.field) {
      const entry = message.nestedType.find(
        ({ name, options }) => options?.mapEntry && field.typeName.split(".").at(-1) === name,
      );
      if (!entry) continue;
      entry.name = `${field.name.charAt(0).toUpperCase()}${field.name.slice(1)}Entry`;
      field.typeName = `.${file.package}.${message.name}.${entry.name}`;
    }
  return file;
}
