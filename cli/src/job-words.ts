import type { DescEnum } from "@bufbuild/protobuf";
import {
  type BackfillState,
  BackfillStateSchema,
  WindowState,
  WindowStateSchema,
} from "@holdfast/gen/holdfast/v1/backfill_service_pb";
import { type EffectState, EffectStateSchema } from "@holdfast/gen/holdfast/v1/effect_pb";
import { type WaitCause, WaitCauseSchema } from "@holdfast/gen/holdfast/v1/explain_pb";
import {
  DisconnectPolicy,
  FailurePolicy,
  FailurePolicySchema,
  InFlightPolicy,
  type JobEventType,
  JobEventTypeSchema,
  type JobNoteType,
  JobNoteTypeSchema,
  JobState,
  JobStateSchema,
  Priority,
  PrioritySchema,
  UniquePolicy,
} from "@holdfast/gen/holdfast/v1/job_pb";
import { type ReplayVerdict, ReplayVerdictSchema } from "@holdfast/gen/holdfast/v1/replay_pb";
import {
  CatchUpPolicy,
  CatchUpPolicySchema,
  OverlapPolicy,
  OverlapPolicySchema,
} from "@holdfast/gen/holdfast/v1/schedule_service_pb";
import { InvalidArgumentError } from "commander";

// The words that people write and read for the enums of the protocol: the enum's name without its prefix, in
// lower case. An unknown word is refused and never read as a default.

function wordOf(schema: DescEnum, value: number): string {
  const name = schema.value[value]?.localName;
  return name === undefined ? `unknown (${value})` : name.toLowerCase().replaceAll("_", "-");
}

export const stateWord = (state: JobState): string => wordOf(JobStateSchema, state);
export const priorityWord = (priority: Priority): string => wordOf(PrioritySchema, priority);
export const effectStateWord = (state: EffectState): string => wordOf(EffectStateSchema, state);
export const failurePolicyWord = (policy: FailurePolicy): string => wordOf(FailurePolicySchema, policy);
export const waitCauseWord = (cause: WaitCause): string => wordOf(WaitCauseSchema, cause);
export const noteWord = (type: JobNoteType): string => wordOf(JobNoteTypeSchema, type);
export const verdictWord = (verdict: ReplayVerdict): string => wordOf(ReplayVerdictSchema, verdict);
export const overlapWord = (policy: OverlapPolicy): string => wordOf(OverlapPolicySchema, policy);
export const catchUpWord = (policy: CatchUpPolicy): string => wordOf(CatchUpPolicySchema, policy);
export const backfillStateWord = (state: BackfillState): string => wordOf(BackfillStateSchema, state);
export const windowStateWord = (state: WindowState): string => wordOf(WindowStateSchema, state);
export const eventWord = (type: JobEventType): string => wordOf(JobEventTypeSchema, type);

export const STATE_WORDS = {
  blocked: JobState.BLOCKED,
  scheduled: JobState.SCHEDULED,
  ready: JobState.READY,
  parked: JobState.PARKED,
  leased: JobState.LEASED,
  succeeded: JobState.SUCCEEDED,
  dead: JobState.DEAD,
  cancelled: JobState.CANCELLED,
} as const;

export const PRIORITY_WORDS = {
  low: Priority.LOW,
  normal: Priority.NORMAL,
  high: Priority.HIGH,
  critical: Priority.CRITICAL,
} as const;

export const FAILURE_POLICY_WORDS = {
  "fail-fast": FailurePolicy.FAIL_FAST,
  continue: FailurePolicy.CONTINUE,
  "wait-for-all": FailurePolicy.WAIT_FOR_ALL,
} as const;

export const DISCONNECT_POLICY_WORDS = {
  stop: DisconnectPolicy.STOP,
  "finish-and-report": DisconnectPolicy.FINISH_AND_REPORT,
} as const;

export const IN_FLIGHT_POLICY_WORDS = {
  wait: InFlightPolicy.WAIT,
  refuse: InFlightPolicy.REFUSE,
} as const;

export const UNIQUE_POLICY_WORDS = {
  existing: UniquePolicy.EXISTING,
  refuse: UniquePolicy.REFUSE,
  replace: UniquePolicy.REPLACE,
} as const;

export const OVERLAP_POLICY_WORDS = {
  skip: OverlapPolicy.SKIP,
  allow: OverlapPolicy.ALLOW,
  "queue-one": OverlapPolicy.QUEUE_ONE,
  replace: OverlapPolicy.REPLACE,
} as const;

export const CATCH_UP_POLICY_WORDS = {
  skip: CatchUpPolicy.SKIP,
  last: CatchUpPolicy.LAST,
  all: CatchUpPolicy.ALL,
} as const;

export const WINDOW_STATE_WORDS = {
  waiting: WindowState.WAITING,
  submitted: WindowState.SUBMITTED,
  done: WindowState.DONE,
  failed: WindowState.FAILED,
  skipped: WindowState.SKIPPED,
  cancelled: WindowState.CANCELLED,
} as const;

/** Makes a reader of one of these words. */
export function oneOf<Value>(words: Readonly<Record<string, Value>>): (text: string) => Value {
  return (text) => {
    if (!Object.hasOwn(words, text)) {
      throw new InvalidArgumentError(`"${text}" is not one of ${Object.keys(words).join(", ")}.`);
    }
    return words[text] as Value;
  };
}

export function isTerminal(state: JobState): boolean {
  return state === JobState.SUCCEEDED || state === JobState.DEAD || state === JobState.CANCELLED;
}
