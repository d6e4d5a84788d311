// A service that answers so many requests in each second of the clock, and asks all others to wait.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { runProgram } from "../run-program.js";

export interface SourceParams {
  readonly requestsPerSecond: number;
}

/** What became of the requests of one second. */
export interface SourceSecond {
  readonly answered: number;
  readonly refused: number;
}

export type SourceSays = {
  readonly up: { readonly url: string };
  /** Each second so far, in order. */
  readonly seconds: readonly SourceSecond[];
};

await runProgram<SourceParams, SourceSays>(async ({ requestsPerSecond }, say) => {
  const seconds: SourceSecond[] = [];
  let answered = 0;
  let refused = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (answered < requestsPerSecond) {
      answered += 1;
      response.end("done");
    } else {
      refused += 1;
      response.writeHead(429, { "retry-after": "1" }).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const turning = setInterval(() => {
    seconds.push({ answered, refused });
    say("seconds", seconds);
    answered = 0;
    refused = 0;
  }, 1_000);
  say("up", { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
  return async () => {
    clearInterval(turning);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
});
