// A worker of the SDK in a process of its own. Options are the first argument, as JSON, with `workMs`: how long each
// handler takes. Prints its counts as a line of JSON, a few times a second and at the end.
import { setTimeout as sleep } from "node:timers/promises";
import { startWorker } from "@holdfast/worker";

const { workMs, ...options } = JSON.parse(process.argv[2]);
let started = 0;
const worker = startWorker({
  handlers: {
    work: async (job) => {
      started += 1;
      await sleep(workMs);
      return job.id;
    },
  },
  ...options,
});
const say = () => console.log(JSON.stringify({ started, ...worker.stats() }));
const saying = setInterval(say, 100);
await worker.done;
clearInterval(saying);
say();
