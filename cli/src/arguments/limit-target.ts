import type { MessageInitShape } from "@bufbuild/protobuf";
import type { LimitTarget, LimitTargetSchema } from "@holdfast/gen/holdfast/v1/limit_service_pb";
import { InvalidArgumentError } from "commander";

export const TARGET_HELP = "tenant, product:NAME, queue:PRODUCT/NAME, source:NAME or key:NAME";

type TargetShape = MessageInitShape<typeof LimitTargetSchema>;

/** Reads what a limit holds back as it is written on the command line. */
export function parseLimitTarget(text: string): TargetShape {
  const [, type, name = ""] = /^(product|queue|source|key):(.+)$/.exec(text) ?? [];
  switch (type) {
    case "product":
    case "source":
    case "key":
      return { target: { case: type, value: name } };
    case "queue": {
      const [product = "", queue = "", ...rest] = name.split("/");
      if (product !== "" && queue !== "" && rest.length === 0)
        return { target: { case: "queue", value: { product, queue } } };
      break;
    }
    default:
      if (text === "tenant") return { target: { case: "tenant", value: {} } };
  }
  throw new InvalidArgumentError(`"${text}" is not a target: write ${TARGET_HELP}.`);
}

/** The same the other way. */
export function limitTargetText(message: LimitTarget | undefined): string {
  const target = message?.target;
  switch (target?.case) {
    case "queue":
      return `queue:${target.value.product}/${target.value.queue}`;
    case "product":
    case "source":
    case "key":
      return `${target.case}:${target.value}`;
    default:
      return target?.case ?? "?";
  }
}
