import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { LimitSettingsSchema, LimitTargetSchema } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import type { Command } from "commander";
import { parseDurationMs } from "../arguments/duration.js";
import { parseLimitTarget, TARGET_HELP } from "../arguments/limit-target.js";
import { decimalAboveZero, decimalNumber, wholeNumber } from "../arguments/number.js";

type Target = MessageInitShape<typeof LimitTargetSchema>;
type Settings = NonNullable<MessageInitShape<typeof LimitSettingsSchema>["settings"]>;

interface BucketFlags {
  readonly perSecond: number;
  readonly burst?: number;
  readonly adaptive?: boolean;
  readonly floor?: number;
  readonly recovery?: number;
}

interface BreakerFlags {
  readonly ratio?: number;
  readonly samples?: number;
  readonly window?: number;
  readonly coolDown?: number;
  readonly maxCoolDown?: number;
  readonly probes?: number;
}

/**
 * Adds the commands that bound how fast work starts.
 *
 * @param justified gives a command the flags that say why
 * @param set sets a limit and shows it
 */
export function addRateCommands<Flags>(
  limits: Command,
  justified: (command: Command) => Command,
  set: (target: Target, settings: Settings, flags: Flags, command: Command) => Promise<void>,
): void {
  justified(limits.command("rate").description("let so many jobs start a second, over all hubs"))
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .requiredOption("--per-second <rate>", "starts a second in the long run", decimalNumber(0.001, 1_000_000))
    .option("--burst <starts>", "starts at once after a rest; default a second's", wholeNumber(1, 10_000_000))
    .option("--adaptive", "slow down when the source asks to, and recover")
    .option(
      "--floor <rate>",
      "with --adaptive: never below; default a 100th of the rate",
      decimalAboveZero(1_000_000),
    )
    .option("--recovery <duration>", "with --adaptive: from half the rate back; default 10s", parseDurationMs)
    .action((target: Target, flags: Flags & BucketFlags, command: Command) => {
      const { perSecond, burst, adaptive, floor, recovery } = flags;
      const slowing = {
        ...(floor !== undefined && { floorPerSecond: floor }),
        ...(recovery !== undefined && { recovery: durationFromMs(recovery) }),
      };
      const value = {
        ratePerSecond: perSecond,
        ...(burst !== undefined && { capacity: BigInt(burst) }),
        ...((adaptive || floor !== undefined || recovery !== undefined) && { adaptive: slowing }),
      };
      return set(target, { case: "bucket", value }, flags, command);
    });

  justified(
    limits.command("quota").description("let so many jobs start an hour; needs --reason and --ticket"),
  )
    .argument("<target>", TARGET_HELP, parseLimitTarget)
    .requiredOption("--starts <count>", "starts in the window", wholeNumber(1, 1_000_000_000))
    .option("--window <duration>", "length of the window; default 1h", parseDurationMs)
    .action(
      (
        target: Target,
        flags: Flags & { readonly starts: number; readonly window?: number },
        command: Command,
      ) => {
        const { starts, window } = flags;
        const value = {
          maxStarts: BigInt(starts),
          ...(window !== undefined && { window: durationFromMs(window) }),
        };
        return set(target, { case: "quota", value }, flags, command);
      },
    );

  justified(
    limits.command("breaker").description("start nothing while too much of what calls a source fails"),
  )
    .argument("<target>", "source:NAME", parseLimitTarget)
    .option("--ratio <share>", "opens at this share of failures; default 0.5", decimalAboveZero(1))
    .option("--samples <count>", "fewer outcomes say nothing; default 20", wholeNumber(1, 1_000_000))
    .option("--window <duration>", "how far back outcomes count; default 30s", parseDurationMs)
    .option("--cool-down <duration>", "how long it stays open at first; default 30s", parseDurationMs)
    .option("--max-cool-down <duration>", "bound of the doubling; default 16 times", parseDurationMs)
    .option("--probes <count>", "starts that are let through first; default 3", wholeNumber(1, 1_000))
    .action((target: Target, flags: Flags & BreakerFlags, command: Command) => {
      const { ratio, samples, window, coolDown, maxCoolDown, probes } = flags;
      const value = {
        ...(ratio !== undefined && { failureRatio: ratio }),
        ...(samples !== undefined && { minSamples: samples }),
        ...(window !== undefined && { window: durationFromMs(window) }),
        ...(coolDown !== undefined && { coolDown: durationFromMs(coolDown) }),
        ...(maxCoolDown !== undefined && { maxCoolDown: durationFromMs(maxCoolDown) }),
        ...(probes !== undefined && { probes }),
      };
      return set(target, { case: "breaker", value }, flags, command);
    });
}
