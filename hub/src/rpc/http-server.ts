// The HTTP port: Connect, gRPC-Web and gRPC for the services, and plain pages for probes and metrics. Without TLS
// it speaks both HTTP/1.1 and HTTP/2 with prior knowledge: the first bytes of a connection tell which.
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import { splitAddress } from "../domain/address.js";
import type { CallGuard } from "./call-guard.js";
import { mountConnect } from "./connect-mount.js";
import type { RunningServer, TlsFiles } from "./grpc-server.js";
import type { ImplementedService } from "./implementation.js";
import { messageBytesMax } from "./limits.js";

export interface Pages {
  /** Whether the hub can serve now: its ledger answers and it is not stopping. */
  readonly isReady: () => Promise<boolean>;
  /** Prometheus text exposition. */
  readonly metrics: (request: http.IncomingMessage, response: http.ServerResponse) => void;
}

type AnyRequest = http.IncomingMessage | http2.Http2ServerRequest;
type AnyResponse = http.ServerResponse | http2.Http2ServerResponse;
type Handler = (request: AnyRequest, response: AnyResponse) => void;

/** A connection that says nothing is neither protocol's, so neither's timeouts end it. */
const firstBytesWithinMs = 60_000;
const http2Preface = Buffer.from("PRI * HTTP/2.0");

/** @throws when the address cannot be listened on */
export async function startHttpServer(
  listen: string,
  tls: TlsFiles | null,
  services: readonly ImplementedService[],
  guard: CallGuard,
  pages: Pages,
  onDefect: (error: unknown) => void,
): Promise<RunningServer> {
  const adapter = connectNodeAdapter({
    routes: (router) => mountConnect(router, services, guard, onDefect),
    fallback: (request, response) => servePage(pages, request, response as AnyResponse),
    readMaxBytes: messageBytesMax,
    // A timer that is set to more ends at once.
    maxTimeoutMs: 0x7fff_ffff,
    // By default a name that an enum does not have would silently become the enum's default.
    jsonOptions: { ignoreUnknownFields: false },
    acceptCompression: [compressionGzip],
  });
  const handler = unbreakable(adapter as Handler);
  const sockets = new Set<net.Socket>();
  const { server, closeIdle } = tls ? secureServer(tls, handler) : plainServer(handler);
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const { host, port } = splitAddress(listen);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address() as net.AddressInfo;
  return {
    address: `${host.includes(":") ? `[${host}]` : host}:${bound.port}`,
    stop: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const force = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      closeIdle();
      await closed;
      clearTimeout(force);
    },
  };
}

/** A request line or a host that is none makes the adapter throw at whoever received it: that would end the hub. */
function unbreakable(handler: Handler): Handler {
  return (request, response) => {
    // A caller who resets its stream is gone; without a listener that would be an exception too.
    request.on("error", () => undefined);
    try {
      handler(request, response);
    } catch {
      answer(response, 400, "The request line or the host is malformed.");
    }
  };
}

interface Listening {
  readonly server: net.Server;
  /** Ends connections that serve no call: kept alive, they would hold the server open. */
  readonly closeIdle: () => void;
}

function secureServer(tls: TlsFiles, handler: Handler): Listening {
  const server = http2.createSecureServer({ ...tls, allowHTTP1: true }, handler);
  return { server, closeIdle: closerOfHttp2(server) };
}

function plainServer(handler: Handler): Listening {
  const http1 = http.createServer(handler);
  const h2 = http2.createServer(handler);
  const closeHttp1 = closerOfHttp1(http1);
  const closeHttp2 = closerOfHttp2(h2);
  // It is handed its sockets, and without having listened it would wait for the rest of a request for ever.
  http1.emit("listening");
  const server = net.createServer((socket) => {
    const drop = () => socket.destroy();
    socket.on("error", drop);
    socket.setTimeout(firstBytesWithinMs, drop);
    socket.once("data", (first: Buffer) => {
      socket.setTimeout(0, drop);
      socket.pause();
      socket.unshift(first);
      const isHttp2 = first.subarray(0, http2Preface.length).equals(http2Preface.subarray(0, first.length));
      (isHttp2 ? h2 : http1).emit("connection", socket);
      if (!isHttp2) socket.resume();
    });
  });
  const closeIdle = () => {
    closeHttp1();
    closeHttp2();
  };
  return { server, closeIdle };
}

/** Node tracks connections only for a server that listens itself, and this one is handed its sockets. */
function closerOfHttp1(server: http.Server): () => void {
  const calls = new Map<net.Socket, number>();
  let isClosing = false;
  server.on("connection", (socket: net.Socket) => {
    calls.set(socket, 0);
    socket.on("close", () => calls.delete(socket));
  });
  server.on("request", ({ socket }, response) => {
    calls.set(socket, (calls.get(socket) ?? 0) + 1);
    response.on("close", () => {
      const left = (calls.get(socket) ?? 1) - 1;
      calls.set(socket, left);
      if (isClosing && left === 0) socket.end();
    });
  });
  return () => {
    isClosing = true;
    for (const [socket, count] of calls) if (count === 0) socket.destroy();
  };
}

/** A session that is closed ends with its last stream. */
function closerOfHttp2(server: http2.Http2Server | http2.Http2SecureServer): () => void {
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  return () => {
    for (const session of sessions) session.close();
  };
}

function servePage(pages: Pages, request: AnyRequest, response: AnyResponse): void {
  const [path] = (request.url ?? "/").split("?", 1);
  switch (path) {
    case "/healthz":
      return answer(response, 200, "ok");
    case "/readyz":
      pages.isReady().then(
        (isReady) => (isReady ? answer(response, 200, "ready") : answer(response, 503, "not ready")),
        () => answer(response, 503, "not ready"),
      );
      return;
    case "/metrics":
      return pages.metrics(request as http.IncomingMessage, response as http.ServerResponse);
    case "/":
      return answer(
        response,
        200,
        "Holdfast hub. Services: /holdfast.v1.JobService/… ; pages: /healthz /readyz /metrics",
      );
    default:
      return answer(
        response,
        404,
        "Not found. Services: /holdfast.v1.JobService/… ; pages: /healthz /readyz /metrics",
      );
  }
}

function answer(response: AnyResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(`${text}\n`);
}
