// Bootstrap, then chaos: `npm run chaos -- --jobs 20000 --seed 7`.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bootstrap, root, runScript } from "./bootstrap.mjs";

await runScript(async () => {
  await bootstrap();
  const program = join(root, "loadtest/dist/chaos/main.js");
  process.argv.splice(1, 1, program);
  await import(pathToFileURL(program).href);
});
