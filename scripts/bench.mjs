// Bootstrap, then the benchmark that the arguments name: `npm run bench -- drain`.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bootstrap, root, runScript } from "./bootstrap.mjs";

await runScript(async () => {
  await bootstrap();
  const program = join(root, "loadtest/dist/main.js");
  process.argv.splice(1, 1, program);
  await import(pathToFileURL(program).href);
});
