// The one table of exit codes. Scripts rely on them: a code is never given a second meaning, and a command
// that could not do what was asked never exits 0.

interface ExitCodeRow {
  readonly name: string;
  readonly code: number;
  readonly meaning: string;
}

const ROWS = [
  { name: "ok", code: 0, meaning: "Done: what was asked for is so." },
  { name: "unexpected", code: 1, meaning: "A defect, or an answer that this version does not understand." },
  { name: "usage", code: 2, meaning: "The command line, or a file that it names, is not valid." },
  {
    name: "notFound",
    code: 3,
    meaning:
      "There is no such job, dead letter, inbox entry, replay, effect, channel, cursor, limit, budget, schedule, backfill, source, seal or key, or not for this tenant.",
  },
  {
    name: "refused",
    code: 4,
    meaning:
      "Refused: an invalid field, a conflict, a precondition that does not hold, or a limit that waiting does not lift.",
  },
  { name: "notAuthorised", code: 5, meaning: "The API key is missing, not valid, or lacks a scope or kind." },
  {
    name: "unavailable",
    code: 6,
    meaning: "The hub or its ledger cannot be reached, or asks to try again later. Trying again may help.",
  },
  { name: "jobNotSucceeded", code: 7, meaning: "A job that was waited for ended, but not with success." },
  { name: "doctorFailed", code: 8, meaning: "The doctor found at least one failure." },
  { name: "timedOut", code: 9, meaning: "The --timeout passed while a job was still open; the job goes on." },
  {
    name: "childFailed",
    code: 10,
    meaning: "A hub or worker that `start` or `fleet up` runs ended by itself.",
  },
  { name: "drifted", code: 11, meaning: "A job of a replay did not end as the one that it repeats." },
  { name: "notVerified", code: 12, meaning: "An audit bundle is not what was signed." },
  { name: "interrupted", code: 130, meaning: "Interrupted by Ctrl-C (SIGINT) before it was done." },
  {
    name: "outputClosed",
    code: 141,
    meaning:
      "Its output could not be written: closed by `| head` or the like, and the rest was not done, or the disk is full.",
  },
  { name: "terminated", code: 143, meaning: "Terminated (SIGTERM) before it was done." },
] as const satisfies readonly ExitCodeRow[];

export type ExitCode = (typeof ROWS)[number]["code"];

export const EXIT_CODES: readonly ExitCodeRow[] = ROWS;

/** The codes by name: `EXIT.notFound` is 3. */
export const EXIT = Object.fromEntries(ROWS.map((row) => [row.name, row.code])) as {
  readonly [Row in (typeof ROWS)[number] as Row["name"]]: Row["code"];
};
