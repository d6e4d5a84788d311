// Serves the same implementations as Connect, gRPC-Web and gRPC on the HTTP port.
import { type DescMethod, fromBinary } from "@bufbuild/protobuf";
import { ConnectError, type ConnectRouter, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { CallGuard } from "./call-guard.js";
import { admission, admitFirst } from "./connect-admission.js";
import { explainRefusals, faultOf, isReached } from "./connect-refusals.js";
import { EncodedResponse } from "./encoded.js";
import { toConnectError, toFault } from "./errors.js";
import type { Call, ImplementedService } from "./implementation.js";

type UnaryMethod = (request: unknown, call: Call) => Promise<object>;
type StreamMethod = (request: unknown, call: Call) => AsyncIterable<object>;

export function mountConnect(
  router: ConnectRouter,
  services: readonly ImplementedService[],
  guard: CallGuard,
  onDefect: (error: unknown) => void,
): void {
  for (const { desc, methods } of services) {
    const handlers = desc.methods.map((method) => [
      method.localName,
      handlerOf(method, methods[method.localName], onDefect),
    ]);
    router.service(desc, Object.fromEntries(handlers) as ServiceImpl<typeof desc>);
  }
  const { handlers } = router;
  handlers.splice(
    0,
    handlers.length,
    ...handlers.map((handler) => explainRefusals(admitFirst(handler, guard))),
  );
}

function handlerOf(method: DescMethod, implementation: unknown, onDefect: (error: unknown) => void) {
  const open = (context: HandlerContext): Call => {
    context.values.set(isReached, true);
    return { principal: context.values.get(admission)(), signal: context.signal };
  };
  // Methods throw faults; statuses come from the library.
  const refuse = (error: unknown) =>
    error instanceof ConnectError ? error : toConnectError(toFault(error, onDefect));
  if (method.methodKind === "unary")
    return async (request: unknown, context: HandlerContext) => {
      try {
        return await (implementation as UnaryMethod)(request, open(context));
      } catch (error) {
        throw refuse(error);
      }
    };
  return async function* (request: unknown, context: HandlerContext) {
    try {
      const call = open(context);
      const input =
        method.methodKind === "bidi_streaming"
          ? wellFormed(request as AsyncIterable<object>, call.signal)
          : request;
      for await (const response of (implementation as StreamMethod)(input, call))
        yield response instanceof EncodedResponse ? fromBinary(method.output, response.bytes) : response;
    } catch (error) {
      if (!context.signal.aborted) throw refuse(error);
    }
  };
}

/** The messages of a stream: what is none ends the call, and a caller who is gone is the end of the input. */
async function* wellFormed(messages: AsyncIterable<object>, signal: AbortSignal): AsyncGenerator<object> {
  try {
    yield* messages;
  } catch (error) {
    if (signal.aborted) return;
    throw (error instanceof ConnectError && faultOf(error)) || error;
  }
}
