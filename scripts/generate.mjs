// Regenerates gen/ts/src from proto/. `--check` changes nothing and fails when what is committed differs.
import { bootstrapDependencies, Foreseen, runScript, say } from "./bootstrap.mjs";
import { findDrift, generate } from "./generation.mjs";

await runScript(async () => {
  await bootstrapDependencies();
  if (!process.argv.includes("--check")) return await generate();
  const drift = await findDrift();
  if (drift.length > 0) {
    throw new Foreseen(`gen/ts/src is not what proto/ generates; run npm run generate.\n${drift.join("\n")}`);
  }
  say("gen/ts/src is what proto/ generates");
});
