/** What a worker is ready to be sent: jobs, and bytes of payloads and checkpoints. Never negative. */
export interface Credit {
  readonly jobs: number;
  readonly bytes: number;
}

/** Bounds of the outstanding credit of one session. */
export interface CreditLimits {
  readonly jobsMax: number;
  readonly bytesMax: number;
}

export const noCredit: Credit = { jobs: 0, bytes: 0 };

/** Adds a grant; "overflow" when the outstanding credit would pass a limit, and then nothing changes. */
export function grantCredit(credit: Credit, grant: Credit, limits: CreditLimits): Credit | "overflow" {
  const jobs = credit.jobs + grant.jobs;
  const bytes = credit.bytes + grant.bytes;
  if (jobs > limits.jobsMax || bytes > limits.bytesMax) return "overflow";
  return { jobs, bytes };
}
