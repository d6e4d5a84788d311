import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type DeadLetterFilter,
  DeadLetterFilterSchema,
} from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import type { FailureClass } from "@holdfast/gen/holdfast/v1/job_pb";
import type { Command } from "commander";
import { parseTime } from "./arguments/time.js";
import { FAILURE_CLASS_WORDS } from "./dead-text.js";
import { oneOf } from "./job-words.js";

export interface DeadFilterFlags {
  readonly product?: string;
  readonly queue?: string;
  readonly kind?: string;
  readonly code?: string;
  readonly class?: FailureClass;
  readonly fingerprint?: string;
  readonly after?: Date;
  readonly before?: Date;
  readonly resolved?: boolean;
}

/** The options that say which dead letters. */
export function withDeadFilter(command: Command): Command {
  const toTime = (text: string) => parseTime(text);
  return command
    .option("--product <product>", "only this product")
    .option("--queue <queue>", "only this queue")
    .option("--kind <kind>", "only this kind")
    .option("--code <code>", "only this code of the failure, such as HTTP_503")
    .option(
      "--class <class>",
      `only this class: ${Object.keys(FAILURE_CLASS_WORDS).join(", ")}`,
      oneOf(FAILURE_CLASS_WORDS),
    )
    .option("--fingerprint <fingerprint>", "only this cluster")
    .option("--after <time>", "only those that died since: 2027-01-31T14:00:00Z, or -1h", toTime)
    .option("--before <time>", "only those that died before", toTime);
}

export function deadFilter(flags: DeadFilterFlags): DeadLetterFilter {
  const { after, before } = flags;
  return create(DeadLetterFilterSchema, {
    product: flags.product ?? "",
    queue: flags.queue ?? "",
    kind: flags.kind ?? "",
    code: flags.code ?? "",
    failureClass: flags.class ?? 0,
    fingerprint: flags.fingerprint ?? "",
    ...(after === undefined ? {} : { diedAfter: timestampFromDate(after) }),
    ...(before === undefined ? {} : { diedBefore: timestampFromDate(before) }),
    withResolved: flags.resolved === true,
  });
}

/** Whether any option narrows: a retry of everything must be asked for. */
export function isNarrowed({ resolved: _, ...flags }: DeadFilterFlags): boolean {
  const names = ["product", "queue", "kind", "code", "class", "fingerprint", "after", "before"] as const;
  return names.some((name) => flags[name] !== undefined);
}
