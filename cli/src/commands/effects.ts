import type { Effect } from "@holdfast/gen/holdfast/v1/effect_pb";
import type { Command } from "commander";
import { CliError, usageError } from "../cli-error.js";
import { EFFECT_HEADINGS, effectJson, effectRow, effectText } from "../effect-text.js";
import { EXIT } from "../exit-codes.js";
import { type Cli, perform } from "../invocation.js";
import { takeItems } from "../pages.js";
import { writeItems } from "./item-list.js";

const AFTER_HELP = `
An effect is something that a job does outside, and that must not be done twice; docs/effects.md tells more.
Effects belong to a job (--job ID), or to a scope of their own (--scope NAME).

Examples:
  $ holdfast effects ls --job 0198c7f0-…
  $ holdfast effects show mail --job 0198c7f0-… --json | jq .effect.resultValue
  $ holdfast effects abandon order-17 --scope charges --reason "the till burnt down"`;

interface OwnerFlags {
  readonly job?: string;
  readonly scope?: string;
}

export function addEffectsCommand(program: Command, cli: Cli): void {
  const effects = program
    .command("effects")
    .description("list effects, show one, or take one away from its holder")
    .addHelpText("after", AFTER_HELP);

  withOwner(effects.command("ls").description("list the effects of a job or scope, by key"))
    .addHelpText("after", AFTER_HELP)
    .action((flags: OwnerFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const owner = ownerOf(flags);
        const client = connection().effects;
        const pages = takeItems(Number.POSITIVE_INFINITY, async (page) => {
          const answer = await client.list({ ...page, owner });
          return { items: answer.effects, nextPageToken: answer.nextPageToken };
        });
        await writeItems(output, pages, {
          headings: EFFECT_HEADINGS,
          row: (effect) => effectRow(effect, io.nowMs(), output.paint),
          json: effectJson,
          nothing: `There are no effects of this ${owner.case === "scope" ? "scope" : "job"}.`,
        });
        return EXIT.ok;
      }),
    );

  withOwner(effects.command("show").description("show one effect, its result included"))
    .argument("<key>", "key of the effect")
    .addHelpText("after", AFTER_HELP)
    .action((key: string, flags: OwnerFlags, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const name = { owner: ownerOf(flags), key };
        const effect = requireEffect((await connection().effects.get({ name })).effect);
        output.document({ effect: effectJson(effect) }, () => effectText(effect, io.nowMs(), output.paint));
        return EXIT.ok;
      }),
    );

  withOwner(
    effects.command("abandon").description("take a held effect away: it may be claimed, and done, again"),
  )
    .argument("<key>", "key of the effect")
    .requiredOption("--reason <text>", "why; it is kept")
    .addHelpText(
      "after",
      `
Its lease runs out by itself when the holder is gone. Take it away earlier only when you are sure that the holder
will not do it any more: what it still writes is refused, what it still does is not.`,
    )
    .action((key: string, flags: OwnerFlags & { readonly reason: string }, command: Command) =>
      perform(cli, command, async ({ io, output, connection }) => {
        const name = { owner: ownerOf(flags), key };
        const answer = await connection().effects.abandon({ name, reason: flags.reason });
        const effect = requireEffect(answer.effect);
        output.document({ effect: effectJson(effect) }, () => effectText(effect, io.nowMs(), output.paint));
        return EXIT.ok;
      }),
    );
}

function withOwner(command: Command): Command {
  return command
    .option("--job <id>", "the job that the effect belongs to")
    .option("--scope <name>", "the scope that the effect belongs to");
}

function ownerOf({ job, scope }: OwnerFlags) {
  if (job !== undefined && scope === undefined) return { case: "jobId", value: job } as const;
  if (scope !== undefined && job === undefined) return { case: "scope", value: scope } as const;
  throw usageError("Whose effect?", "Name either --job ID or --scope NAME.");
}

function requireEffect(effect: Effect | undefined): Effect {
  if (effect === undefined) {
    throw new CliError("The hub answered without an effect.", {
      exitCode: EXIT.unexpected,
      reason: "EMPTY_ANSWER",
    });
  }
  return effect;
}
