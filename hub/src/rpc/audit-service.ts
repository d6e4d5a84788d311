import { AuditService } from "@holdfast/gen/holdfast/v1/audit_service_pb";
import type { Audits } from "../services/audits.js";
import { checkInteger, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { optionalTime } from "./job-messages.js";

const chunkBytes = 64 * 1024;

export function auditService(audits: Audits): ImplementedService {
  return implement(AuditService, {
    async getHead(_request, { principal }) {
      const { seal, waiting, oldestWaitingAtMs, changed } = await audits.head(principal);
      return {
        ...(seal && {
          head: {
            number: BigInt(seal.number),
            digest: seal.digest,
            operations: seal.operations,
            ...optionalTime("sealedAt", seal.sealedAtMs),
            keyId: seal.keyId,
          },
        }),
        waiting,
        changed: changed ?? "",
        ...optionalTime("oldestWaitingAt", oldestWaitingAtMs),
        ...(audits.signer && {
          key: { keyId: audits.signer.keyId, publicKeyPem: audits.signer.publicKeyPem },
        }),
      };
    },

    async *export(request, { principal }) {
      const first = checkInteger("first", request.first || 1n, 1, Number.MAX_SAFE_INTEGER);
      const last = checkInteger("last", request.last, 0, Number.MAX_SAFE_INTEGER);
      if (last !== 0 && last < first) throw invalid("last", "must not be less than first");
      const lines = audits.export(principal, first, last === 0 ? null : last);
      for await (const chunk of inChunks(lines)) yield { chunk };
    },
  });
}

async function* inChunks(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  let text = "";
  for await (const line of lines) {
    text += line;
    if (text.length < chunkBytes) continue;
    yield Buffer.from(text);
    text = "";
  }
  yield Buffer.from(text);
}
