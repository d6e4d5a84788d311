import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import {
  type Justification as JustificationMessage,
  type JustificationSchema,
  type OperationSchema,
  OperationService,
} from "@holdfast/gen/holdfast/v1/operation_service_pb";
import { Fault } from "../domain/fault.js";
import type { OperationView, Operator } from "../domain/operation.js";
import type { Principal } from "../domain/scope.js";
import { isUuid, lastUuid } from "../domain/uuid.js";
import type { Operations } from "../services/operations.js";
import { checkPageSize, checkText, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { optionalTime } from "./job-messages.js";
import { decodePageToken, encodePageToken } from "./page-token.js";

export function operationService(operations: Operations): ImplementedService {
  return implement(OperationService, {
    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const target = checkText("target", request.target, 512);
      const listed = ["operations", principal.tenantId, target];
      const before = request.pageToken ? decodePageToken(request.pageToken, listed) : lastUuid;
      if (!isUuid(before)) throw invalid("page_token", "is damaged");
      const found = await operations.list(principal, target, before, limit);
      const last = found.at(-1);
      return {
        operations: found.map(toOperationMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(last.operationId, listed),
      };
    },
  });
}

/** "optional": neither is asked for; "reason": only that; "audited": both, as for what an audit looks at. */
export type JustificationNeed = "optional" | "reason" | "audited";

/**
 * The caller as an operator.
 *
 * @throws Fault AUDIT_FIELDS_MISSING naming what is missing; INVALID_FIELD
 */
export function toOperator(
  principal: Principal,
  justification: JustificationMessage | undefined,
  need: JustificationNeed,
): Operator {
  const reason = checkText("justification.reason", justification?.reason ?? "", 1024);
  const ticket = checkText("justification.ticket", justification?.ticket ?? "", 256);
  const missing = [
    ...(need !== "optional" && reason.trim() === "" ? ["justification.reason"] : []),
    ...(need === "audited" && ticket.trim() === "" ? ["justification.ticket"] : []),
  ];
  if (missing.length > 0)
    throw new Fault("AUDIT_FIELDS_MISSING", `This change is kept for audits: set ${missing.join(" and ")}.`, {
      field: missing.join(", "),
    });
  return { tenantId: principal.tenantId, subject: principal.subject, reason, ticket };
}

function toOperationMessage(view: OperationView): MessageInitShape<typeof OperationSchema> {
  const justification: MessageInitShape<typeof JustificationSchema> = {
    reason: view.reason,
    ticket: view.ticket,
  };
  return {
    operationId: view.operationId,
    ...optionalTime("at", view.atMs),
    subject: view.subject,
    action: view.action,
    target: view.target,
    justification,
    ...(view.before !== null && { before: view.before as JsonObject }),
    ...(view.after !== null && { after: view.after as JsonObject }),
  };
}
