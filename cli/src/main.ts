import { EXIT } from "./exit-codes.js";
import { processIo } from "./io.js";
import { runCli } from "./program.js";

// A reader that closes the pipe early, such as `| head`, ends the command. One that was done by then has its own code.
// A disk that is full ends none: a hub or a worker must outlast its log.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") {
    process.exitCode ??= EXIT.outputClosed;
    process.exit();
  }
  process.once("exit", (exitCode) => {
    if (exitCode === EXIT.ok) {
      process.exitCode = EXIT.outputClosed;
    }
  });
});
// Remarks that nobody reads keep no command from its work.
process.stderr.on("error", () => {});

process.exitCode = await runCli(process.argv.slice(2), processIo());
