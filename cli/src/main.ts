import { processIo } from "./io.js";
import { runCli } from "./program.js";

// A reader that closes the pipe early, such as `| head`, has what it wanted.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") {
    process.exit();
  }
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), processIo());
