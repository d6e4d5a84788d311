import type { MessageInitShape } from "@bufbuild/protobuf";
import { type InboxEntrySchema, InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import type { InboxView } from "../domain/inbox.js";
import { isUuid, lastUuid } from "../domain/uuid.js";
import type { Inbox } from "../services/inbox.js";
import { checkPageSize, checkUuid, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { optionalFairness, optionalTime } from "./job-messages.js";
import { toOperator } from "./operation-service.js";
import { decodePageToken, encodePageToken } from "./page-token.js";

export function inboxService(inbox: Inbox): ImplementedService {
  return implement(InboxService, {
    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["inbox", principal.tenantId, request.refusedOnly];
      const before = request.pageToken ? decodePageToken(request.pageToken, listed) : lastUuid;
      if (!isUuid(before)) throw invalid("page_token", "is damaged");
      const entries = await inbox.list(principal, request.refusedOnly, before, limit);
      const last = entries.at(-1);
      return {
        entries: entries.map(toEntryMessage),
        nextPageToken: entries.length < limit || !last ? "" : encodePageToken(last.jobId, listed),
      };
    },

    async retry(request, { principal }) {
      const operator = toOperator(principal, request.justification, "optional");
      return { entry: toEntryMessage(await inbox.retry(operator, checkUuid("job_id", request.jobId))) };
    },

    async discard(request, { principal }) {
      const operator = toOperator(principal, request.justification, "optional");
      return { entry: toEntryMessage(await inbox.discard(operator, checkUuid("job_id", request.jobId))) };
    },
  });
}

function toEntryMessage(entry: InboxView): MessageInitShape<typeof InboxEntrySchema> {
  const { jobId, product, queue, kind, idempotencyKey, submittedBy, payloadBytes, refusal } = entry;
  return {
    jobId,
    product,
    queue,
    kind,
    priority: entry.priority as number,
    capabilities: [...entry.capabilities],
    source: entry.source,
    ...optionalFairness(entry.fairness),
    idempotencyKey,
    submittedBy,
    payloadBytes,
    ...optionalTime("submittedAt", entry.submittedAtMs),
    ...(refusal && {
      refusal: { reason: refusal.reason, message: refusal.message, metadata: { ...refusal.metadata } },
      ...optionalTime("refusedAt", refusal.atMs),
    }),
  };
}
