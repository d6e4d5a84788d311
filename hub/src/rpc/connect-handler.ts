import type { UniversalHandler, UniversalHandlerFn } from "@connectrpc/connect/protocol";

/** A handler of the same method that does something else. */
export function withHandle(handler: UniversalHandler, handle: UniversalHandlerFn): UniversalHandler {
  const { protocolNames, allowedMethods, supportedContentType, requestPath, service, method } = handler;
  return Object.assign(handle, {
    protocolNames,
    allowedMethods,
    supportedContentType,
    requestPath,
    service,
    method,
  });
}
