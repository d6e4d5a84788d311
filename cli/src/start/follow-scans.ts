import type { Connection } from "../connection.js";
import { FOLLOWED_JOBS_MAX, followJobs } from "../follow-jobs.js";
import { isTerminal } from "../job-words.js";
import { mapBounded } from "../map-bounded.js";
import { slices } from "../scan/scan-job.js";

const FOLLOW_STREAMS_MAX = 6;
const HUB_AWAY_MAX_MS = 60_000;

/** Follows jobs to their end, in groups: one stream of the hub takes only so many, and so many are open at once. */
export async function followScans(
  connection: Connection,
  jobIds: readonly string[],
  signal: AbortSignal,
  onEnded: (jobId: string) => void,
): Promise<void> {
  const ended = new Set<string>();
  await mapBounded([...slices(jobIds, FOLLOWED_JOBS_MAX)], FOLLOW_STREAMS_MAX, async (group) => {
    const updates = followJobs(connection.jobs, group, {
      signal,
      giveUpAfterMs: HUB_AWAY_MAX_MS,
      wasReached: true,
    });
    for await (const { update } of updates) {
      if (update.case === "event" && isTerminal(update.value.state) && !ended.has(update.value.jobId)) {
        ended.add(update.value.jobId);
        onEnded(update.value.jobId);
      }
    }
  });
}
