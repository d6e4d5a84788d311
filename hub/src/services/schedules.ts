// Schedules for operators: made, changed, read, triggered. What fires them by themselves is schedule-clock.ts.
import { isDeepStrictEqual } from "node:util";
import { type Cadence, timesOf } from "../domain/cadence.js";
import { Fault } from "../domain/fault.js";
import type { Operator } from "../domain/operation.js";
import {
  decideTrigger,
  nextDue,
  type ScheduleSpec,
  type ScheduleView,
  scheduledJob,
} from "../domain/schedule.js";
import type { Principal } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";
import { requireKinds } from "./access.js";
import { newId } from "./new-id.js";

type SchedulesLedger = Pick<
  Ledger,
  "readSchedule" | "listSchedules" | "createSchedule" | "changeSchedule" | "deleteSchedule" | "fireSchedule"
>;

/** How often a change is tried that others were faster than. */
const triesMax = 10;

/** Of which cadence the next times are asked for. */
export type TimesTarget =
  | { readonly type: "schedule"; readonly name: string }
  | { readonly type: "cadence"; readonly cadence: Cadence };

export class Schedules {
  readonly #ledger: SchedulesLedger;
  readonly #noteChanged: () => void;

  /** @param noteChanged times may be due earlier than whoever fires them knows */
  constructor(ledger: SchedulesLedger, noteChanged: () => void) {
    this.#ledger = ledger;
    this.#noteChanged = noteChanged;
  }

  /** @throws Fault INVALID_FIELD, KIND_NOT_ALLOWED */
  async set(
    principal: Principal,
    operator: Operator,
    name: string,
    spec: ScheduleSpec,
    payload: Uint8Array,
  ): Promise<{ readonly schedule: ScheduleView; readonly isNew: boolean }> {
    requireKinds(principal, [spec.job.kind]);
    const times = timesOf(spec.cadence, spec, "spec.cadence");
    return await this.#change(principal, name, async (stood, nowMs) => {
      if (!stood) {
        const next = nextDue(times, nowMs);
        const schedule = { scheduleId: newId(), name, spec, payload, next };
        return (await this.#ledger.createSchedule(operator, schedule)) ? { isNew: true } : null;
      }
      const isPaused = stood.pausedAtMs !== null;
      const next = hasSameTimes(stood.spec, spec) ? stood.next : nextDue(times, nowMs);
      const change = {
        action: "schedule.set",
        spec,
        payload,
        isPaused,
        next,
        waiting: stood.waiting,
      } as const;
      return (await this.#ledger.changeSchedule(operator, stood, change)) ? { isNew: false } : null;
    });
  }

  /** @throws Fault SCHEDULE_NOT_FOUND */
  async get(principal: Principal, name: string): Promise<ScheduleView> {
    const { schedule } = await this.#ledger.readSchedule(principal.tenantId, name);
    if (!schedule) throw notFound(name);
    return schedule;
  }

  list(principal: Principal, afterName: string, limit: number): Promise<ScheduleView[]> {
    return this.#ledger.listSchedules(principal.tenantId, afterName, limit);
  }

  /** @throws Fault SCHEDULE_NOT_FOUND */
  async pause(principal: Principal, operator: Operator, name: string): Promise<ScheduleView> {
    const { schedule } = await this.#change(principal, name, async (stood) => {
      if (!stood) throw notFound(name);
      const { next, waiting } = stood;
      const change = { action: "schedule.pause", isPaused: true, next, waiting } as const;
      return (await this.#ledger.changeSchedule(operator, stood, change)) ? {} : null;
    });
    return schedule;
  }

  /** @throws Fault SCHEDULE_NOT_FOUND */
  async resume(principal: Principal, operator: Operator, name: string): Promise<ScheduleView> {
    const { schedule } = await this.#change(principal, name, async (stood, nowMs) => {
      if (!stood) throw notFound(name);
      if (stood.pausedAtMs === null) return {};
      const next = nextDue(timesOf(stood.spec.cadence, stood.spec), nowMs);
      const change = { action: "schedule.resume", isPaused: false, next, waiting: stood.waiting } as const;
      return (await this.#ledger.changeSchedule(operator, stood, change)) ? {} : null;
    });
    return schedule;
  }

  /** Answers the schedule as it was. @throws Fault SCHEDULE_NOT_FOUND */
  async remove(principal: Principal, operator: Operator, name: string): Promise<ScheduleView> {
    const stood = await this.get(principal, name);
    if (!(await this.#ledger.deleteSchedule(operator, name))) throw notFound(name);
    return stood;
  }

  /** Fires once more, now. @throws Fault SCHEDULE_NOT_FOUND, KIND_NOT_ALLOWED */
  async trigger(
    principal: Principal,
    operator: Operator,
    name: string,
  ): Promise<{
    readonly schedule: ScheduleView;
    readonly jobId: string | null;
    readonly isWaiting: boolean;
  }> {
    const { schedule, jobId, isWaiting } = await this.#change(principal, name, async (stood, nowMs) => {
      if (!stood) throw notFound(name);
      requireKinds(principal, [stood.spec.job.kind]);
      const atMs = Math.floor(nowMs);
      const firing = decideTrigger(stood.spec, stood, atMs);
      const jobs = firing.fire.map((due) => ({
        ...scheduledJob(stood, due, due.priorMs === null),
        jobId: newId(),
        atMs: due.atMs,
      }));
      if (!(await this.#ledger.fireSchedule(stood, firing, jobs, operator))) return null;
      return {
        jobId: jobs.at(-1)?.jobId ?? null,
        isWaiting: firing.waiting?.atMs === atMs && firing.waiting.priorMs === null,
      };
    });
    return { schedule, jobId, isWaiting };
  }

  /** Ascending. @throws Fault INVALID_FIELD, SCHEDULE_NOT_FOUND */
  async nextTimes(
    principal: Principal,
    target: TimesTarget,
    afterMs: number | null,
    count: number,
  ): Promise<number[]> {
    const name = target.type === "schedule" ? target.name : "";
    const { schedule, nowMs } = await this.#ledger.readSchedule(principal.tenantId, name);
    if (target.type === "schedule" && !schedule) throw notFound(name);
    const times =
      target.type === "cadence"
        ? timesOf(target.cadence, { startsAtMs: null, endsAtMs: null })
        : timesOf((schedule as ScheduleView).spec.cadence, (schedule as ScheduleView).spec);
    const found: number[] = [];
    let at = times.after(afterMs ?? nowMs);
    while (at !== null && found.length < count) {
      found.push(at);
      at = times.after(at);
    }
    return found;
  }

  /**
   * Reads, decides and writes until nobody came between; `act` answers null when somebody did. Answers what it answered
   * and the schedule as it stands then.
   */
  async #change<Answer extends object>(
    principal: Principal,
    name: string,
    act: (stood: ScheduleView | null, nowMs: number) => Promise<Answer | null>,
  ): Promise<Answer & { readonly schedule: ScheduleView }> {
    for (let tries = 0; tries < triesMax; tries += 1) {
      const { schedule, nowMs } = await this.#ledger.readSchedule(principal.tenantId, name);
      const answer = await act(schedule, nowMs);
      if (answer === null) continue;
      this.#noteChanged();
      return { ...answer, schedule: await this.get(principal, name) };
    }
    throw new Fault("CHANGED_MEANWHILE", "Others changed the schedule again and again; try once more.", {
      name,
    });
  }
}

/** Whether its times stay what they were. */
function hasSameTimes(before: ScheduleSpec, after: ScheduleSpec): boolean {
  const timed = ({ cadence, startsAtMs, endsAtMs }: ScheduleSpec) => ({ cadence, startsAtMs, endsAtMs });
  return isDeepStrictEqual(timed(before), timed(after));
}

function notFound(name: string): Fault {
  return new Fault("SCHEDULE_NOT_FOUND", "There is no schedule of this name.", { name });
}
