import { timestampMs } from "@bufbuild/protobuf/wkt";
import { JobState } from "@holdfast/gen/holdfast/v1/job_pb";
import { type Replay, type ReplayedJob, ReplayVerdict } from "@holdfast/gen/holdfast/v1/replay_pb";
import { formatTime } from "./elapsed.js";
import { stateWord, verdictWord } from "./job-words.js";
import type { Paint } from "./paint.js";
import { formatFields, formatTable } from "./table.js";

/** Jobs that are the same are many, and nobody looks for them: so many rows are shown. */
const SAME_SHOWN_MAX = 20;
const DIGEST_CHARACTERS = 12;

/** What a replay came to: its figures, then its jobs, those that drifted first. */
export function replayText(
  replay: Replay,
  jobs: readonly ReplayedJob[],
  nowMs: number,
  paint: Paint,
): string {
  const of = (verdict: ReplayVerdict) => jobs.filter((job) => job.verdict === verdict);
  const same = of(ReplayVerdict.SAME);
  const shown = [
    ...of(ReplayVerdict.DRIFTED),
    ...of(ReplayVerdict.MISSING),
    ...of(ReplayVerdict.PENDING),
    ...same.slice(0, SAME_SHOWN_MAX),
  ];
  const table = formatTable(
    ["VERDICT", "KIND", "JOB", "REPEATS", "KEY", "BEFORE", "NOW"],
    shown.map((job) => jobRow(job, paint)),
    paint,
  );
  const more = same.length - SAME_SHOWN_MAX;
  const fields = formatFields(
    [
      ["replay", paint.strong(replay.id)],
      [replay.isRun ? "of run" : "of job", replay.originalId],
      ["why", replay.reason || undefined],
      ["asked by", replay.requestedBy || undefined],
      ["asked at", replay.requestedAt && formatTime(timestampMs(replay.requestedAt), nowMs)],
      ["effects", replay.repeatsEffects ? "done again" : undefined],
      ["jobs", countsText(jobs, paint)],
    ],
    paint,
  );
  return [fields, table, ...(more > 0 ? [paint.faint(`${more} more are the same`)] : [])].join("\n\n");
}

export function isDrifted(jobs: readonly ReplayedJob[]): boolean {
  return jobs.some(({ verdict }) => verdict === ReplayVerdict.DRIFTED);
}

function countsText(jobs: readonly ReplayedJob[], paint: Paint): string {
  const counts = new Map<ReplayVerdict, number>();
  for (const { verdict } of jobs) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  const words = [...counts].map(([verdict, count]) => `${count} ${paintedVerdict(verdict, paint)}`);
  return `${jobs.length}: ${words.join(", ")}`;
}

function paintedVerdict(verdict: ReplayVerdict, paint: Paint): string {
  const word = verdictWord(verdict);
  switch (verdict) {
    case ReplayVerdict.SAME:
      return paint.good(word);
    case ReplayVerdict.DRIFTED:
      return paint.bad(word);
    default:
      return paint.warn(word);
  }
}

function jobRow(job: ReplayedJob, paint: Paint): string[] {
  const now = job.state === JobState.UNSPECIFIED ? "" : outcomeText(job.state, job.digest);
  return [
    paintedVerdict(job.verdict, paint),
    job.kind,
    job.jobId,
    job.originalJobId,
    job.idempotencyKey,
    outcomeText(job.originalState, job.originalDigest),
    now,
  ];
}

function outcomeText(state: JobState, digest: Uint8Array): string {
  const hex = Buffer.from(digest).toString("hex").slice(0, DIGEST_CHARACTERS);
  return hex === "" ? stateWord(state) : `${stateWord(state)} ${hex}`;
}
