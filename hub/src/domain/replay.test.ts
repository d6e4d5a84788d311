import { describe, expect, it } from "vitest";
import { JobState } from "./job-state.js";
import { type ReplayedJob, ReplayVerdict, replayVerdict } from "./replay.js";

const same: ReplayedJob = {
  jobId: "b",
  originalId: "a",
  kind: "work",
  idempotencyKey: "",
  originalState: JobState.Succeeded,
  originalDigest: Buffer.from("one"),
  state: JobState.Succeeded,
  digest: Buffer.from("one"),
};

describe("the verdict on a replayed job", () => {
  it.each([
    ["is SAME when the digests are", {}, ReplayVerdict.Same],
    ["is DRIFTED when they differ", { digest: Buffer.from("two") }, ReplayVerdict.Drifted],
    ["is PENDING while the job is open", { state: JobState.Leased, digest: null }, ReplayVerdict.Pending],
    ["is PENDING again once a dead letter was retried", { state: JobState.Ready }, ReplayVerdict.Pending],
    ["is MISSING when retention has dropped the job", { state: null, digest: null }, ReplayVerdict.Missing],
  ])("%s", (_, more, verdict) => {
    expect(replayVerdict({ ...same, ...more })).toBe(verdict);
  });
});
