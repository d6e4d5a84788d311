import { EXIT } from "./exit-codes.js";
import { processIo } from "./io.js";
import { runCli } from "./program.js";
import { askToShutDown } from "./shutdown.js";

// A reader that closes the pipe early, such as `| head`, ends the command; one that runs for long is asked to end, as by
// SIGTERM. One that was done by then has its own code. A disk that is full ends none: a hub or a worker must outlast its log.
let isUnread = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE" && !askToShutDown("Its output was closed", EXIT.outputClosed)) {
    process.exitCode ??= EXIT.outputClosed;
    process.exit();
  }
  if (isUnread) return;
  isUnread = true;
  process.once("exit", (exitCode) => {
    if (exitCode === EXIT.ok) {
      process.exitCode = EXIT.outputClosed;
    }
  });
});
// Remarks that nobody reads keep no command from its work.
process.stderr.on("error", () => {});

process.exitCode = await runCli(process.argv.slice(2), processIo());
