import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type PreviewTimesRequest, ScheduleService } from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import type { Schedules, TimesTarget } from "../services/schedules.js";
import { checkInteger, checkName, checkPageSize, checkTime, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import type { EdgeLimits } from "./limits.js";
import { toOperator } from "./operation-service.js";
import { decodePageToken, encodePageToken } from "./page-token.js";
import { toCadence, toScheduleMessage, toScheduleSpec } from "./schedule-messages.js";

const timesMax = 100;
const timesDefault = 10;

export function scheduleService(schedules: Schedules, limits: EdgeLimits): ImplementedService {
  return implement(ScheduleService, {
    async set(request, { principal }) {
      const name = checkName("name", request.name);
      const { spec, payload } = toScheduleSpec(request.spec, limits);
      const operator = toOperator(principal, request.justification, "reason");
      const { schedule, isNew } = await schedules.set(principal, operator, name, spec, payload);
      return { schedule: toScheduleMessage(schedule), created: isNew };
    },

    async get(request, { principal }) {
      const schedule = await schedules.get(principal, checkName("name", request.name));
      return { schedule: toScheduleMessage(schedule) };
    },

    async list(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const listed = ["schedules", principal.tenantId];
      const after = request.pageToken ? decodePageToken(request.pageToken, listed) : "";
      const found = await schedules.list(principal, after, limit);
      const last = found.at(-1);
      return {
        schedules: found.map(toScheduleMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(last.name, listed),
      };
    },

    async pause(request, { principal }) {
      const name = checkName("name", request.name);
      const operator = toOperator(principal, request.justification, "reason");
      return { schedule: toScheduleMessage(await schedules.pause(principal, operator, name)) };
    },

    async resume(request, { principal }) {
      const name = checkName("name", request.name);
      const operator = toOperator(principal, request.justification, "reason");
      return { schedule: toScheduleMessage(await schedules.resume(principal, operator, name)) };
    },

    async delete(request, { principal }) {
      const name = checkName("name", request.name);
      const operator = toOperator(principal, request.justification, "reason");
      return { schedule: toScheduleMessage(await schedules.remove(principal, operator, name)) };
    },

    async trigger(request, { principal }) {
      const name = checkName("name", request.name);
      const operator = toOperator(principal, request.justification, "reason");
      const { schedule, jobId, isWaiting } = await schedules.trigger(principal, operator, name);
      return { schedule: toScheduleMessage(schedule), jobId: jobId ?? "", waiting: isWaiting };
    },

    async previewTimes(request, { principal }) {
      const count = request.count === 0 ? timesDefault : checkInteger("count", request.count, 1, timesMax);
      const after = checkTime("after", request.after);
      const times = await schedules.nextTimes(principal, toTarget(request), after, count);
      return { times: times.map((ms) => timestampFromMs(ms)) };
    },
  });
}

function toTarget({ target }: PreviewTimesRequest): TimesTarget {
  switch (target.case) {
    case "name":
      return { type: "schedule", name: checkName("name", target.value) };
    case "cadence":
      return { type: "cadence", cadence: toCadence(target.value, "cadence") };
    case undefined:
      throw invalid("target", "is required: name or cadence");
  }
}
