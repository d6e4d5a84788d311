import type { Command } from "commander";
import { EXIT, EXIT_CODES } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { plainPaint } from "../paint.js";
import { formatTable } from "../table.js";

export function addExitCodesCommand(program: Command, cli: Cli): void {
  program
    .command("exit-codes")
    .description("show what each exit code means")
    .addHelpText("after", () => `\n${exitCodesText()}`)
    .action((_flags: object, command: Command) =>
      perform(cli, command, async ({ output }) => {
        output.document(
          EXIT_CODES.map((row) => ({ ...row })),
          exitCodesText,
        );
        return EXIT.ok;
      }),
    );
}

function exitCodesText(): string {
  const rows = EXIT_CODES.flatMap(({ code, meaning }) =>
    linesOf(meaning).map((line, index) => [index === 0 ? String(code) : "", line]),
  );
  return formatTable(["CODE", "MEANING"], rows, plainPaint);
}

/** No line of the help is wider than 110 characters. */
function linesOf(meaning: string): readonly string[] {
  return meaning.match(/\S.{0,99}(?=\s|$)/g) ?? [];
}
