/** What a note tells of. Stored in notes and sent on the wire (holdfast.v1.JobNoteType). */
export const JobNoteType = {
  EffectCompleted: 1,
  EffectAbandoned: 2,
} as const;
export type JobNoteType = (typeof JobNoteType)[keyof typeof JobNoteType];

/** A job keeps this many of its newest notes. */
export const jobNotesMax = 256;

/** One line of a job's summary: for people, never to decide anything by. */
export interface JobNote {
  /** Counts the notes of the job, from 1. */
  readonly number: bigint;
  readonly type: JobNoteType;
  readonly name: string;
  readonly bytes: number;
  readonly atMs: number;
}

export interface JobNotes {
  /** The newest, oldest first. */
  readonly notes: readonly JobNote[];
  readonly isTruncated: boolean;
}
