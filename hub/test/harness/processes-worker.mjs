// A worker of the SDK in a process of its own. Options are the first argument, as JSON, with `workMs`: how long each
// handler takes, `effect`: what it does outside, and `waits`: how many signals of its job it waits for. A job with the
// label "fails" does so. Prints its counts as a line of JSON, a few times a second and at the end.
import { appendFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { JobFailure, startWorker } from "@holdfast/worker";

const { workMs, effect, waits = 0, ...options } = JSON.parse(process.argv[2]);
let started = 0;
const worker = startWorker({
  handlers: {
    work: async (job) => {
      started += 1;
      await sleep(workMs);
      if (job.labels.fails) throw new JobFailure("BROKEN", "it was told to", { permanent: true });
      if (effect) await sendMail(job);
      for (let after = 0; after < waits; after += 1) await job.waitFor("go", { after });
      return job.id;
    },
  },
  ...options,
});

/** The outside world is a file: a line in it cannot be taken back. `effect.hang` says where the worker stops for ever. */
async function sendMail(job) {
  const { file, ttlMs, hang } = effect;
  const forever = (where) => {
    console.log(JSON.stringify({ hangs: where }));
    return new Promise(() => undefined);
  };
  const mail = await job.effect(
    "mail",
    async ({ isTakenOver }) => {
      if (hang === "before") await forever("before");
      await appendFile(file, `${job.id} ${isTakenOver ? "taken over" : "first"}\n`);
      return { by: options.name };
    },
    { ttlMs },
  );
  console.log(JSON.stringify({ mail }));
  if (hang === "after") await forever("after");
}

const say = () => console.log(JSON.stringify({ started, ...worker.stats() }));
const saying = setInterval(say, 100);
await worker.done;
clearInterval(saying);
say();
