// A purchase that waits for an approval, without a worker waiting with it. Needs a hub on this machine:
//
//   npx holdfast hub             # in one terminal
//   node examples/approval.mjs   # in another, after npm run build
//
// The explanation is in docs/signals.md.
import { createClient, JobState, resultOf, startWorker } from "@holdfast/worker";

const address = process.env.HOLDFAST_ADDRESS ?? "127.0.0.1:7420";
const client = createClient({ address });

const worker = startWorker({
  name: "buyer",
  address,
  journal: false,
  concurrency: 1,
  log: () => {},
  handlers: {
    // Started when the job is, and once more when it is woken.
    purchase: async (job) => {
      console.log("the handler starts");
      // Done once, however often the handler is started.
      await job.effect("ask", () => console.log("the boss is asked"));
      const approval = await job.waitFor("approval", { timeoutMs: 3_600_000 });
      return approval === undefined ? "nobody answered" : `approved by ${approval.json().by}`;
    },
    note: () => console.log("the one seat of this worker is free meanwhile"),
  },
});

const { jobId } = await client.submit({ kind: "purchase" });
for await (const { update } of client.watch(jobId))
  if (update.case === "event" && update.value.state === JobState.PARKED) break;
console.log("the purchase waits");
await client.waitFor((await client.submit({ kind: "note" })).jobId);

// From anywhere: another service, a web page, a shell.
await client.publish({ jobId, name: "approval" }, { by: "the boss" });
console.log(resultOf(await client.waitFor(jobId)).text());

await worker.stop();
client.close();
