import { LimitService } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import type { GateType } from "../domain/gate.js";
import type { Limits } from "../services/limits.js";
import { checkPageSize, checkText } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import {
  checkTargetFor,
  needOf,
  toGateType,
  toLimitMessage,
  toSettings,
  toTarget,
} from "./limit-messages.js";
import { toOperator } from "./operation-service.js";
import { decodePageNumber, encodePageToken } from "./page-token.js";

export function limitService(limits: Limits): ImplementedService {
  return implement(LimitService, {
    async set({ target, settings, justification }, { principal }) {
      const note = checkText("justification.reason", justification?.reason ?? "", 1024);
      const wanted = toSettings(settings, note);
      const before = toTarget(target);
      checkTargetFor(before, wanted);
      const operator = toOperator(principal, justification, needOf(wanted.type));
      return { limit: toLimitMessage(await limits.set(operator, before, wanted)) };
    },

    async remove({ target, type, justification }, { principal }) {
      const gateType = toGateType(type, false) as GateType;
      const operator = toOperator(principal, justification, needOf(gateType));
      await limits.remove(operator, toTarget(target), gateType);
      return {};
    },

    async get({ target, type }, { principal }) {
      const view = await limits.get(principal, toTarget(target), toGateType(type, false) as GateType);
      return { limit: toLimitMessage(view) };
    },

    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const filter = { type: toGateType(request.type, true), shutOnly: request.shutOnly };
      const listed = ["limits", principal.tenantId, filter];
      const after = request.pageToken ? decodePageNumber(request.pageToken, listed) : 0;
      const views = await limits.list(principal, filter, after, limit);
      const last = views.at(-1);
      return {
        limits: views.map(toLimitMessage),
        nextPageToken: views.length < limit || !last ? "" : encodePageToken(String(last.gate.gateId), listed),
      };
    },
  });
}
