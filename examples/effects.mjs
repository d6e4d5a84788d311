// An order that is charged and confirmed once, although its first attempt fails half-way. Needs a hub on this machine:
//
//   npx holdfast hub            # in one terminal
//   node examples/effects.mjs   # in another, after npm run build
//
// The explanation is in docs/effects.md.
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, resultOf, startWorker } from "@holdfast/worker";

const address = process.env.HOLDFAST_ADDRESS ?? "127.0.0.1:7420";
const outside = { charges: 0, mails: 0 };

const worker = startWorker({
  address,
  name: "effects-example",
  journal: false,
  handlers: {
    order: async (job) => {
      const { amount } = job.json();
      const receipt = await job.effect("charge", async (effect) => {
        outside.charges += 1;
        await sleep(50);
        return { id: `receipt for ${effect.idempotencyKey}`, amount };
      });
      if (job.attempt === 1) throw new Error("the lights went out after the charge");
      await job.effect("mail", async () => {
        outside.mails += 1;
      });
      return { attempt: job.attempt, receipt };
    },
  },
});

const client = createClient({ address });
const { jobId } = await client.submit({ kind: "order", payload: { amount: 17 } });
const job = await client.waitFor(jobId, { timeoutMs: 60_000 });
console.log(resultOf(job)?.json());
console.log(outside);
console.log(`See it all: npx holdfast effects ls --job ${jobId}`);
client.close();
await worker.stop();
