// The states of a job and the transitions that are allowed between them.
//
//  submit ─┬─ dependencies open ─► BLOCKED ─────────────┐ all satisfied
//          ├─ run_at in future ──► SCHEDULED ───────────┤ due
//          └─ else ──────────────► READY ◄──────────────┘
//                                   │  ▲   ▲
//                         gate shut ▼  │   └── release · session expired
//                                 PARKED
//             READY ── claim ──► LEASED ── waits for a signal ► PARKED
//                                  ├─ success ──────────────► SUCCEEDED
//                                  ├─ retryable failure ────► SCHEDULED
//                                  ├─ final failure ────────► DEAD
//                                  └─ cancel acknowledged ──► CANCELLED
//  any open state ── cancel ──► CANCELLED ; deadline ──► DEAD ; DEAD ── operator retry ──► READY
//
// The numbers are stored in the ledger and sent on the wire (holdfast.v1.JobState): they never change. The
// ledger repeats the rules as check constraints and in the WHERE of every statement.

export const JobState = {
  Blocked: 1,
  Scheduled: 2,
  Ready: 3,
  Parked: 4,
  Leased: 5,
  Succeeded: 6,
  Dead: 7,
  Cancelled: 8,
} as const;
export type JobState = (typeof JobState)[keyof typeof JobState];

/** What happened to a job. Stored in events and sent on the wire (holdfast.v1.JobEventType). */
export const JobEventType = {
  Submitted: 1,
  Ready: 2,
  Leased: 3,
  Released: 4,
  Expired: 5,
  RetryScheduled: 6,
  Succeeded: 7,
  Dead: 8,
  Cancelled: 9,
  CancelRequested: 10,
  Revived: 11,
  EffectCompleted: 12,
  Unblocked: 13,
  /** A gate stopped it. */
  Deferred: 14,
  Suspended: 15,
  /** A critical job took its seat. */
  Preempted: 16,
} as const;
export type JobEventType = (typeof JobEventType)[keyof typeof JobEventType];

/** The states that a state may change into. A state that keeps itself (a cancel with grace) is listed too. */
export const transitions: Readonly<Record<JobState, readonly JobState[]>> = {
  [JobState.Blocked]: [JobState.Ready, JobState.Scheduled, JobState.Cancelled, JobState.Dead],
  [JobState.Scheduled]: [JobState.Ready, JobState.Cancelled, JobState.Dead],
  [JobState.Ready]: [JobState.Leased, JobState.Parked, JobState.Cancelled, JobState.Dead],
  [JobState.Parked]: [JobState.Ready, JobState.Cancelled, JobState.Dead],
  [JobState.Leased]: [
    JobState.Leased,
    JobState.Ready,
    JobState.Scheduled,
    JobState.Parked,
    JobState.Succeeded,
    JobState.Dead,
    JobState.Cancelled,
  ],
  [JobState.Succeeded]: [],
  [JobState.Dead]: [JobState.Ready],
  [JobState.Cancelled]: [],
};

export function canChange(from: JobState, to: JobState): boolean {
  return transitions[from].includes(to);
}

/** Terminal states are final for everybody but an operator who revives a dead letter. */
export function isTerminal(state: JobState): boolean {
  return state === JobState.Succeeded || state === JobState.Dead || state === JobState.Cancelled;
}
