// What the calls of a scenario need to be there: jobs to get, claim and report. It is made by calls in JSON to the hub's
// HTTP port, before the clock starts.

/** What ghz is given for one run. */
export interface Stock {
  /** For the templates of the scenario's file. */
  readonly env: Readonly<Record<string, string>>;
  /** One message per call, in turn, instead of the scenario's; null: as the file has it. */
  readonly messages: readonly object[] | null;
}

export const noStock: Stock = { env: {}, messages: null };

const kind = "ghz";
const batchJobs = 5_000;
const claimJobs = 1_000;
/** More than calls that are ever under way: two claims of one session at once would be refused. */
const claimSessions = 600;
const callMsMax = 60_000;

const worker = { protocolVersion: 1, workerName: "ghz", kinds: [kind] };

interface Claimed {
  readonly sessionId: string;
  readonly leases?: { readonly leases: readonly { readonly jobId: string; readonly fencingToken: string }[] };
}

/** A job that can be read. */
export async function stockOfOneJob(hub: string): Promise<Stock> {
  const [jobId] = await submit(hub, 1);
  return { env: { HOLDFAST_JOB_ID: jobId as string }, messages: null };
}

/** Ready jobs, and sessions that may claim them. */
export async function stockOfReadyJobs(hub: string, jobs: number): Promise<Stock> {
  const sessionIds: string[] = [];
  while (sessionIds.length < claimSessions) sessionIds.push(...(await openSessions(hub, 50)));
  // After the sessions: opening one is a claim too.
  await submit(hub, jobs);
  return { env: { HOLDFAST_SESSION_IDS: sessionIds.join(",") }, messages: null };
}

/** Leases, and for each the message that reports it done. */
export async function stockOfLeases(hub: string, jobs: number): Promise<Stock> {
  await submit(hub, jobs);
  const messages: object[] = [];
  let sessionId = "";
  while (messages.length < jobs) {
    const claimed: Claimed = await call(hub, "WorkerService/Claim", {
      requestId: crypto.randomUUID(),
      ...(sessionId === "" ? { worker } : { sessionId }),
      maxJobs: claimJobs,
      maxBytes: 64 << 20,
      wait: "5s",
    });
    sessionId = claimed.sessionId;
    const leases = claimed.leases?.leases ?? [];
    if (leases.length === 0) throw new Error(`Only ${messages.length} of ${jobs} jobs could be claimed.`);
    for (const { jobId, fencingToken } of leases)
      messages.push({
        session_id: sessionId,
        results: [{ job_id: jobId, fencing_token: fencingToken, outcome: { success: {} } }],
      });
  }
  return { env: {}, messages };
}

async function submit(hub: string, count: number): Promise<string[]> {
  const payload = Buffer.from(JSON.stringify({ text: "x".repeat(189) })).toString("base64");
  const jobIds: string[] = [];
  while (jobIds.length < count) {
    const jobs = Array.from({ length: Math.min(batchJobs, count - jobIds.length) }, () => ({
      kind,
      payload,
    }));
    const { results } = await call<{ results: { accepted?: { jobId: string } }[] }>(
      hub,
      "JobService/SubmitBatch",
      { jobs },
    );
    for (const { accepted } of results) {
      if (!accepted) throw new Error("The hub refused a job.");
      jobIds.push(accepted.jobId);
    }
  }
  return jobIds;
}

async function openSessions(hub: string, count: number): Promise<string[]> {
  const open = async () => {
    const request = { requestId: crypto.randomUUID(), worker, maxJobs: 1, maxBytes: 1 << 20 };
    return (await call<Claimed>(hub, "WorkerService/Claim", request)).sessionId;
  };
  return await Promise.all(Array.from({ length: count }, open));
}

async function call<Answer>(hub: string, method: string, request: object): Promise<Answer> {
  const response = await fetch(`http://${hub}/holdfast.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(callMsMax),
  });
  if (!response.ok) throw new Error(`${method}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Answer;
}
