import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChannelRef, ChannelRefSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { usageError } from "./cli-error.js";

export const CHANNEL_HELP = "NAME, OWNER/NAME, job:ID/NAME or run:ID/NAME";

/** Reads a channel as it is written on the command line. */
export function parseChannel(text: string): MessageInitShape<typeof ChannelRefSchema> {
  const [, type, owner, name] = /^(?:(?:(job|run):)?([^/]+)\/)?([^/]+)$/.exec(text) ?? [];
  if (name === undefined) {
    throw usageError(`"${text}" does not name a channel.`, `Write it as ${CHANNEL_HELP}.`);
  }
  if (owner === undefined) {
    return { name };
  }
  const cases = { job: "jobId", run: "runId" } as const;
  return { name, owner: { case: cases[type as "job" | "run"] ?? "ownerName", value: owner } };
}

/** The same the other way. */
export function channelText(ref: ChannelRef | undefined): string {
  const name = ref?.name ?? "";
  switch (ref?.owner.case) {
    case "jobId":
      return `job:${ref.owner.value}/${name}`;
    case "runId":
      return `run:${ref.owner.value}/${name}`;
    default:
      return ref?.owner.value === "default" ? name : `${ref?.owner.value ?? ""}/${name}`;
  }
}
