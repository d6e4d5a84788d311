/** What a note tells of. Stored in notes and sent on the wire (holdfast.v1.JobNoteType). */
export const JobNoteType = {
  EffectCompleted: 1,
  EffectAbandoned: 2,
  SignalsPublished: 3,
} as const;
export type JobNoteType = (typeof JobNoteType)[keyof typeof JobNoteType];

/** A job keeps this many of its newest notes. */
export const jobNotesMax = 256;

/** One line of a job's summary: for people, never to decide anything by. */
export interface JobNote {
  /** Counts the notes of effects, from 1; of signals, the sequence of the last one that it tells of. */
  readonly number: bigint;
  readonly type: JobNoteType;
  readonly name: string;
  readonly bytes: number;
  readonly atMs: number;
  /** Consecutive signals that it tells of; 0 for an effect. */
  readonly signals: number;
  /** Who published them; empty for an effect. */
  readonly producer: string;
}

export interface JobNotes {
  /** The newest, oldest first. */
  readonly notes: readonly JobNote[];
  readonly isTruncated: boolean;
}

/** A note counts as many times as it tells of signals, and an effect's once. */
const weightOf = ({ signals }: JobNote) => Math.max(signals, 1);

/**
 * The newest of what is noted of a job and of its signals, together no more than a job keeps; a note that tells of more
 * signals than there is room for stays whole.
 */
export function newestNotes(all: readonly JobNote[], isTruncated: boolean): JobNotes {
  const notes = all.toSorted((a, b) => a.atMs - b.atMs || a.type - b.type || Number(a.number - b.number));
  let from = notes.length;
  for (let room = jobNotesMax; from > 0 && room > 0; from -= 1) room -= weightOf(notes[from - 1] as JobNote);
  return { notes: notes.slice(from), isTruncated: isTruncated || from > 0 };
}
