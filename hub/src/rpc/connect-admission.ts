// On the HTTP port, too, a caller is let in before a byte of the message is read: until then a message costs nothing, whatever
// it would unfold to. Who is not let in gets the answer from the method, in whatever format was spoken, on an empty message.
import { createContextKey, createContextValues } from "@connectrpc/connect";
import {
  encodeEnvelope,
  type UniversalHandler,
  type UniversalServerRequest,
} from "@connectrpc/connect/protocol";
import { isLoopback } from "../domain/address.js";
import { Fault } from "../domain/fault.js";
import type { Principal } from "../domain/scope.js";
import type { CallGuard } from "./call-guard.js";
import { withHandle } from "./connect-handler.js";

/** Who calls; throws what they are refused with. */
export const admission = createContextKey<() => Principal>(() => {
  throw new Error("Nobody was asked whether the call may be.");
});

/** The same handler, for those whom the guard lets in. */
export function admitFirst(handler: UniversalHandler, guard: CallGuard): UniversalHandler {
  const admit = async (request: UniversalServerRequest): Promise<Principal> => {
    const principal = await guard(handler.method, request.header.get("authorization"));
    if (principal.keyId === "") requireLocalName(request);
    return principal;
  };
  return withHandle(handler, async (request) => {
    const contextValues = request.contextValues ?? createContextValues();
    const admitted = await admit(request).then(
      (principal) => ({ principal }),
      (refusal: unknown) => ({ refusal }),
    );
    contextValues.set(admission, () => {
      if ("refusal" in admitted) throw admitted.refusal;
      return admitted.principal;
    });
    return handler({ ...("refusal" in admitted ? emptied(request) : request), contextValues });
  });
}

/**
 * A page of any site can make its own name lead to this machine, and then call what listens here without a key.
 *
 * @throws Fault UNAUTHENTICATED
 */
function requireLocalName({ url }: UniversalServerRequest): void {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  if (isLoopback(host)) return;
  throw new Fault(
    "UNAUTHENTICATED",
    `Without API keys a hub answers only calls to localhost; this one is to ${host}. Make a key first: holdfast keys create --subject admin --scope access:admin`,
  );
}

function emptied(request: UniversalServerRequest): UniversalServerRequest {
  const contentType = request.header.get("content-type") ?? "";
  const isUnary = /^application\/(proto|json)\b/.test(contentType);
  const message = Buffer.from(/\bjson\b/.test(contentType) ? "{}" : "");
  const header = new Headers(request.header);
  for (const name of ["content-encoding", "content-length"]) header.delete(name);
  return { ...request, header, body: oneChunk(isUnary ? message : encodeEnvelope(0, message)) };
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
