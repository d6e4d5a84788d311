import type { Access } from "../services/access.js";
import { callGuard } from "./call-guard.js";
import { type RunningServer, startGrpcServer, type TlsFiles } from "./grpc-server.js";
import { type Pages, startHttpServer } from "./http-server.js";
import type { ImplementedService } from "./implementation.js";

/** Serves the services on both ports, or on none. */
export async function startConnectors(
  listen: { readonly grpcListen: string; readonly httpListen: string },
  tls: TlsFiles | null,
  services: readonly ImplementedService[],
  access: Access,
  pages: Pages & { readonly onDefect: (error: unknown) => void },
): Promise<{ readonly grpc: RunningServer; readonly http: RunningServer }> {
  const guard = callGuard(access);
  const grpc = await startGrpcServer(listen.grpcListen, tls, services, guard, pages.onDefect);
  try {
    const http = await startHttpServer(listen.httpListen, tls, services, guard, pages, pages.onDefect);
    return { grpc, http };
  } catch (error) {
    await grpc.stop(0);
    throw error;
  }
}
