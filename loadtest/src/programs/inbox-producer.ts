// Offers jobs as an application does that submits in SQL, each in a transaction of its own, open-loop like
// latency-producer.ts.
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { benchKind } from "../job-payload.js";
import { timedPayload } from "../latency/timed-payload.js";
import { runProgram } from "../run-program.js";
import { nowMs } from "../wall-clock.js";
import type { OfferParams, OfferSays } from "./latency-producer.js";

const tickMs = 1;
const connectionsMax = 8;

await runProgram<OfferParams, OfferSays>(async (params, say, signal) => {
  const { databaseUrl, rate, jobs, warmUpJobs, payloadBytes } = params;
  const pool = new pg.Pool({ connectionString: databaseUrl, max: connectionsMax });
  const answeredAfterMs: number[] = [];
  const sentLateMs: number[] = [];
  const transactions = new Set<Promise<void>>();
  const failures: unknown[] = [];

  const submit = async (sequence: number, sentAtMs: number) => {
    const client = await pool.connect();
    try {
      await client.query("begin");
      await client.query({
        name: "submit",
        text: "select holdfast.submit($1, payload_bytes => $2, content_type => 'application/json')",
        values: [benchKind, timedPayload(sequence, sentAtMs, payloadBytes)],
      });
      await client.query("commit");
    } finally {
      client.release();
    }
    if (sequence >= warmUpJobs) answeredAfterMs.push(nowMs() - sentAtMs);
  };

  const beganAtMs = nowMs();
  for (let sequence = 0; sequence < jobs; ) {
    signal.throwIfAborted();
    if (failures.length > 0) throw failures[0];
    const dueJobs = Math.min(jobs, Math.floor(((nowMs() - beganAtMs) / 1_000) * rate) + 1);
    for (; sequence < dueJobs; sequence += 1) {
      const sentAtMs = nowMs();
      if (sequence >= warmUpJobs) sentLateMs.push(sentAtMs - (beganAtMs + (sequence / rate) * 1_000));
      const transaction = submit(sequence, sentAtMs)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => transactions.delete(transaction));
      transactions.add(transaction);
    }
    await delay(tickMs);
  }
  const elapsedSeconds = (nowMs() - beganAtMs) / 1_000;
  await Promise.all(transactions);
  if (failures.length > 0) throw failures[0];
  say("offered", { sent: jobs, elapsedSeconds, answeredAfterMs, sentLateMs });
  return () => pool.end();
});
