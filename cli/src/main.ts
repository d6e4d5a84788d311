import { EXIT } from "./exit-codes.js";
import { processIo } from "./io.js";
import { runCli } from "./program.js";

// A reader that closes the pipe early, such as `| head`, ends the command. One that was done by then has its own code.
onClosed(process.stdout, () => {
  process.exitCode ??= EXIT.outputClosed;
  process.exit();
});
// Remarks that nobody reads keep no command from its work.
onClosed(process.stderr, () => {});

process.exitCode = await runCli(process.argv.slice(2), processIo());

function onClosed(stream: NodeJS.WriteStream, act: () => void): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") {
      throw error;
    }
    act();
  });
}
