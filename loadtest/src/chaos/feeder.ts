// Brings the jobs in, a share at a time, whatever happens to hubs meanwhile: each job has an idempotency key, so a
// submit whose fate is unknown is made again until it is answered (D2).
import { setTimeout as delay } from "node:timers/promises";
import { createClient, type HoldfastClient } from "@holdfast/worker";
import { chaosKind } from "./job.js";

const batchJobs = 250;
const openJobsMax = 5_000;
const againAfterMs = 50;
/** A frozen hub answers nothing; its calls go elsewhere after this. */
const callTimeoutMs = 2_000;

export class Feeder {
  readonly #client: HoldfastClient;
  readonly #ended: () => number;
  readonly #jobIds: string[] = [];
  #allowed = 0;
  #failedCalls = 0;
  #isClosed = false;

  /** @param ended how many jobs have ended, as far as is known */
  constructor(addresses: readonly string[], ended: () => number) {
    this.#client = createClient({ addresses, timeoutMs: callTimeoutMs });
    this.#ended = ended;
  }

  /** Of every job that was accepted. */
  get jobIds(): readonly string[] {
    return this.#jobIds;
  }

  /** Calls that were refused or lost, and made again. */
  get failedCalls(): number {
    return this.#failedCalls;
  }

  /** So many jobs may be brought in by now, in all. */
  allow(jobs: number): void {
    this.#allowed = jobs;
  }

  /** Runs until so many jobs are accepted, or it is closed. */
  async run(jobs: number): Promise<void> {
    while (this.#jobIds.length < jobs && !this.#isClosed) {
      const next = Math.min(this.#allowed, jobs, this.#ended() + openJobsMax) - this.#jobIds.length;
      if (next > 0) await this.#submit(Math.min(next, batchJobs));
      else await delay(againAfterMs);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#client.close();
  }

  async #submit(count: number): Promise<void> {
    const first = this.#jobIds.length;
    const jobs = Array.from({ length: count }, (_, n) => ({
      kind: chaosKind,
      payload: { number: first + n },
      idempotencyKey: `chaos-${first + n}`,
    }));
    while (!this.#isClosed) {
      const accepted = await this.#try(jobs);
      if (accepted) {
        this.#jobIds.push(...accepted);
        return;
      }
      this.#failedCalls += 1;
      await delay(againAfterMs);
    }
  }

  /** The ids, if every job was accepted. */
  async #try(jobs: Parameters<HoldfastClient["submitBatch"]>[0]): Promise<string[] | null> {
    const answers = await this.#client.submitBatch(jobs).catch(() => null);
    const ids = answers?.flatMap((answer) => (answer.outcome === "accepted" ? [answer.jobId] : []));
    return ids?.length === jobs.length ? ids : null;
  }
}
