// Serves the same implementations as Connect, gRPC-Web and gRPC on the HTTP port.
import type { DescMethod } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { toConnectError, toFault } from "./errors.js";
import type { Gate } from "./gate.js";
import type { Call, ImplementedService } from "./implementation.js";

type UnaryMethod = (request: unknown, call: Call) => Promise<object>;
type StreamMethod = (request: unknown, call: Call) => AsyncIterable<object>;

export function mountConnect(
  router: ConnectRouter,
  services: readonly ImplementedService[],
  gate: Gate,
  onDefect: (error: unknown) => void,
): void {
  for (const { desc, methods } of services) {
    const handlers = desc.methods.map((method) => [
      method.localName,
      handlerOf(method, methods[method.localName], gate, onDefect),
    ]);
    router.service(desc, Object.fromEntries(handlers) as ServiceImpl<typeof desc>);
  }
}

function handlerOf(
  method: DescMethod,
  implementation: unknown,
  gate: Gate,
  onDefect: (error: unknown) => void,
) {
  const open = async (context: HandlerContext): Promise<Call> => ({
    principal: await gate(method, context.requestHeader.get("authorization")),
    signal: context.signal,
  });
  const refuse = (error: unknown) => toConnectError(toFault(error, onDefect));
  if (method.methodKind === "unary")
    return async (request: unknown, context: HandlerContext) => {
      try {
        return await (implementation as UnaryMethod)(request, await open(context));
      } catch (error) {
        throw refuse(error);
      }
    };
  return async function* (request: unknown, context: HandlerContext) {
    try {
      yield* (implementation as StreamMethod)(request, await open(context));
    } catch (error) {
      if (!context.signal.aborted) throw refuse(error);
    }
  };
}
