// Bootstrap, then Holdfast as a subject of a harness for Postgres job queues: `npm run -s queue-harness`. Its standard
// output is JSON lines and nothing else.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bootstrap, root, runScript } from "./bootstrap.mjs";

await runScript(async () => {
  await bootstrap();
  await import(pathToFileURL(join(root, "loadtest/dist/programs/queue-harness.js")).href);
});
