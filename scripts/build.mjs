import { bootstrap, runScript } from "./bootstrap.mjs";

await runScript(bootstrap);
