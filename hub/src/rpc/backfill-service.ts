import { BackfillService } from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { Priority } from "@holdfast/gen/holdfast/v1/job_pb";
import { WindowState } from "../domain/backfill.js";
import { isUuid, lastUuid } from "../domain/uuid.js";
import type { Backfills } from "../services/backfills.js";
import { toBackfillMessage, toRange, toWatermarkMessage, toWindowViewMessage } from "./backfill-messages.js";
import {
  checkDuration,
  checkEnum,
  checkInteger,
  checkName,
  checkPageSize,
  checkUuid,
  invalid,
  timeMsMax,
} from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { toWindowMessage } from "./job-messages.js";
import { toJobTemplate } from "./job-template.js";
import { dayMs, type EdgeLimits } from "./limits.js";
import { toOperator } from "./operation-service.js";
import { decodePageNumber, decodePageToken, encodePageToken } from "./page-token.js";

const inFlightDefault = 10;
const inFlightMax = 10_000;
const perMinuteMax = 60_000;

export function backfillService(backfills: Backfills, limits: EdgeLimits): ImplementedService {
  return implement(BackfillService, {
    async preview(request, { principal }) {
      const { total, done, open, first } = await backfills.preview(principal, toRange(request.range));
      return { total, done, open, toRun: total - done - open, first: first.map(toWindowMessage) };
    },

    async start(request, { principal }) {
      const range = toRange(request.range);
      const { job, payload } = toJobTemplate(request.job, "job", limits, Priority.LOW);
      const pace = {
        inFlightMax: checkInteger("in_flight_max", request.inFlightMax || inFlightDefault, 1, inFlightMax),
        perMinuteMax: checkInteger("per_minute_max", request.perMinuteMax, 0, perMinuteMax) || null,
      };
      const operator = toOperator(principal, request.justification, "audited");
      return {
        backfill: toBackfillMessage(await backfills.start(principal, operator, range, job, payload, pace)),
      };
    },

    async get(request, { principal }) {
      const backfillId = checkUuid("backfill_id", request.backfillId);
      return { backfill: toBackfillMessage(await backfills.get(principal, backfillId)) };
    },

    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["backfills", principal.tenantId];
      const before = request.pageToken ? decodePageToken(request.pageToken, listed) : lastUuid;
      if (!isUuid(before)) throw invalid("page_token", "is damaged");
      const found = await backfills.list(principal, before, limit);
      const last = found.at(-1);
      return {
        backfills: found.map(toBackfillMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(last.backfillId, listed),
      };
    },

    async listWindows(request, { principal }) {
      const backfillId = checkUuid("backfill_id", request.backfillId);
      const limit = checkPageSize(request.pageSize);
      const state =
        (request.state as number) === 0 ? 0 : checkEnum("state", request.state as number, WindowState, null);
      const listed = ["windows", principal.tenantId, backfillId, state];
      const after = request.pageToken ? decodePageNumber(request.pageToken, listed, timeMsMax) : 0;
      const found = await backfills.windows(principal, backfillId, state, after, limit);
      const last = found.at(-1);
      return {
        windows: found.map(toWindowViewMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(String(last.fromMs), listed),
      };
    },

    async pause(request, { principal }) {
      const backfillId = checkUuid("backfill_id", request.backfillId);
      const operator = toOperator(principal, request.justification, "audited");
      const backfill = await backfills.change(principal, operator, backfillId, { type: "pause" });
      return { backfill: toBackfillMessage(backfill) };
    },

    async resume(request, { principal }) {
      const backfillId = checkUuid("backfill_id", request.backfillId);
      const operator = toOperator(principal, request.justification, "audited");
      const backfill = await backfills.change(principal, operator, backfillId, { type: "resume" });
      return { backfill: toBackfillMessage(backfill) };
    },

    async cancel(request, { principal }) {
      const backfillId = checkUuid("backfill_id", request.backfillId);
      const operator = toOperator(principal, request.justification, "audited");
      if (request.grace && !request.cancelOpen) throw invalid("grace", "must not be set without cancel_open");
      const graceMs = request.cancelOpen ? checkDuration("grace", request.grace, dayMs, 0) : null;
      const backfill = await backfills.change(principal, operator, backfillId, { type: "cancel", graceMs });
      return { backfill: toBackfillMessage(backfill) };
    },

    async getWatermark(request, { principal }) {
      const source = checkName("source", request.source);
      return { watermark: toWatermarkMessage(await backfills.watermark(principal, source)) };
    },

    async listWatermarks(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["watermarks", principal.tenantId];
      const after = request.pageToken ? decodePageToken(request.pageToken, listed) : "";
      const found = await backfills.watermarks(principal, after, limit);
      const last = found.at(-1);
      return {
        watermarks: found.map(toWatermarkMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(last.source, listed),
      };
    },
  });
}
