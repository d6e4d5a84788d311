// Everything on this machine: bootstrap, then `holdfast start` in this very process, so that signals, terminal and exit
// code are its own.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bootstrap, root, runScript } from "./bootstrap.mjs";

await runScript(async () => {
  await bootstrap();
  const program = join(root, "cli/bin/holdfast.js");
  process.argv.splice(1, 1, program, "start");
  await import(pathToFileURL(program).href);
});
