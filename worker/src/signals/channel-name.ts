import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChannelRefSchema } from "@holdfast/gen/holdfast/v1/signal_service_pb";

/** A channel: its name, or its name with whose it is. A name alone is one of the owner "default". */
export type ChannelName =
  | string
  | { readonly name: string; readonly jobId: string }
  | { readonly name: string; readonly runId: string }
  | { readonly name: string; readonly owner: string };

export function channelRef(channel: ChannelName): MessageInitShape<typeof ChannelRefSchema> {
  if (typeof channel === "string") return { name: channel };
  const { name } = channel;
  if ("jobId" in channel) return { name, owner: { case: "jobId", value: channel.jobId } };
  if ("runId" in channel) return { name, owner: { case: "runId", value: channel.runId } };
  return { name, owner: { case: "ownerName", value: channel.owner } };
}
