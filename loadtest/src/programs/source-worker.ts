// A worker of the SDK whose handler calls a service, and fails when that asks to wait, as handlers do.
import { Agent, get } from "node:http";
import { JobFailure, startWorker } from "@holdfast/worker";
import { benchKind } from "../job-payload.js";
import { runProgram } from "../run-program.js";

export interface CallerParams {
  readonly address: string;
  readonly url: string;
}

export type CallerSays = {
  /** So many jobs have been done by now. */
  readonly progress: { readonly done: number };
};

await runProgram<CallerParams, CallerSays>(async ({ address, url }, say) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  let done = 0;
  const call = () =>
    new Promise<{ status: number; retryAfterMs: number }>((resolve, reject) => {
      const request = get(url, { agent }, (response) => {
        response.resume();
        response.on("end", () => {
          const retryAfterMs = 1_000 * Number(response.headers["retry-after"] ?? 0);
          resolve({ status: response.statusCode ?? 0, retryAfterMs });
        });
      });
      request.on("error", reject);
    });
  const worker = startWorker({
    address,
    name: "bench",
    journal: false,
    handleSignals: false,
    handlers: {
      [benchKind]: async () => {
        const { status, retryAfterMs } = await call();
        if (status !== 200) throw new JobFailure(`HTTP_${status}`, "The service refused.", { retryAfterMs });
        done += 1;
      },
    },
  });
  const telling = setInterval(() => say("progress", { done }), 500);
  return async () => {
    clearInterval(telling);
    await worker.stop();
    agent.destroy();
  };
});
