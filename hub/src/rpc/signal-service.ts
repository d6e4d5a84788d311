import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  DeliveryPolicy,
  type ChannelPolicy as PolicyMessage,
  SignalService,
} from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { type ChannelPolicy, defaultPolicy, OwnerType, partitionsMax } from "../domain/channel.js";
import type { CursorView } from "../domain/cursor.js";
import { type SignalPage, slicePage } from "../domain/signal-page.js";
import type { HeldChannel, SignalChannels } from "../services/signal-channels.js";
import type { SignalOperations } from "../services/signal-operations.js";
import { checkDuration, checkEnum, checkInteger, checkPageSize, checkText, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { dayMs } from "./limits.js";
import { toOperator } from "./operation-service.js";
import { decodePageNumber, decodePageToken, encodePageToken } from "./page-token.js";
import { type PublishParts, publish } from "./publish.js";
import { checkPartition, checkSequence, toChannelName, toPageMessage } from "./signal-messages.js";
import { type SubscribeParts, subscribe } from "./subscribe.js";

const MiB = 1 << 20;
const deliveryPolicies = {
  atLeastOnce: DeliveryPolicy.AT_LEAST_ONCE,
  bestEffort: DeliveryPolicy.BEST_EFFORT,
} as const;

export function signalService(
  parts: PublishParts &
    SubscribeParts & { readonly channels: SignalChannels; readonly operations: SignalOperations },
): ImplementedService {
  const { channels, operations } = parts;
  return implement(SignalService, {
    publish: (requests, call) => publish(parts, requests, call),

    subscribe: (requests, call) => subscribe(parts, requests, call),

    async configureChannel(request, { principal }) {
      const name = toChannelName(request.channel, "channel");
      const partitions =
        request.partitions === 0 ? null : checkInteger("partitions", request.partitions, 1, partitionsMax);
      const operator = toOperator(principal, request.justification, "optional");
      const held = await channels.configure(operator, name, partitions, toPolicy(request.policy));
      return { channel: toChannelMessage(held) };
    },

    async getChannel(request, { principal }) {
      return {
        channel: toChannelMessage(await channels.held(principal, toChannelName(request.channel, "channel"))),
      };
    },

    async listChannels(request, { principal }) {
      const pageSize = checkPageSize(request.pageSize);
      const listed = [principal.tenantId, "channels"];
      const after = request.pageToken ? decodePageNumber(request.pageToken, listed) : 0;
      const page = await channels.list(principal, after, pageSize);
      const last = page.at(-1);
      return {
        channels: page.map(toChannelMessage),
        nextPageToken:
          last && page.length === pageSize ? encodePageToken(String(last.channel.channelId), listed) : "",
      };
    },

    async listSignals(request, { principal }) {
      const name = toChannelName(request.channel, "channel");
      const partition = checkPartition("partition", request.partition);
      const listed = [principal.tenantId, name, partition];
      const from = request.pageToken
        ? decodePageNumber(request.pageToken, listed, Number.MAX_SAFE_INTEGER)
        : checkSequence("from_sequence", request.fromSequence, 0);
      const pageSize = checkPageSize(request.pageSize);
      const pages = firstSignals(await operations.list(principal, name, partition, from), from, pageSize);
      const last = pages.at(-1);
      return {
        pages: pages.map(toPageMessage),
        nextPageToken: last ? encodePageToken(String(last.lastSequence + 1), listed) : "",
      };
    },

    async listCursors(request, { principal }) {
      const name = toChannelName(request.channel, "channel");
      const pageSize = checkPageSize(request.pageSize);
      const listed = [principal.tenantId, name, "cursors"];
      const after = request.pageToken
        ? decodeCursorPlace(request.pageToken, listed)
        : { partition: -1, consumer: "" };
      const cursors = await operations.cursors(principal, name, after, pageSize);
      const last = cursors.at(-1);
      return {
        cursors: cursors.map(toCursorMessage),
        nextPageToken:
          last && cursors.length === pageSize
            ? encodePageToken(JSON.stringify([last.partition, last.consumer]), listed)
            : "",
      };
    },

    async resetCursor(request, { principal }) {
      const cursor = await operations.resetCursor(principal, toChannelName(request.channel, "channel"), {
        consumer: checkText("consumer", request.consumer, 128, 1),
        partition: checkPartition("partition", request.partition),
        ackedThrough: checkSequence("acked_through", request.ackedThrough, 0),
        reason: checkText("reason", request.reason, 1024, 1),
      });
      return { cursor: toCursorMessage(cursor) };
    },
  });
}

/** The first `count` signals from a sequence on. */
function firstSignals(pages: readonly SignalPage[], from: number, count: number): SignalPage[] {
  const first = Math.max(from, pages[0]?.firstSequence ?? from);
  const last = first + count - 1;
  return pages.filter((page) => page.firstSequence <= last).map((page) => slicePage(page, first, last));
}

function decodeCursorPlace(token: string, listed: unknown) {
  const text = decodePageToken(token, listed);
  try {
    const [partition, consumer] = JSON.parse(text) as unknown[];
    if (typeof partition === "number" && Number.isInteger(partition) && typeof consumer === "string")
      return {
        partition: checkPartition("page_token", partition),
        consumer: checkText("page_token", consumer, 128),
      };
  } catch {
    // Falls through: refused alike.
  }
  throw invalid("page_token", "is damaged");
}

function toPolicy(policy: PolicyMessage | undefined): ChannelPolicy {
  if (!policy) return defaultPolicy;
  const field = (name: string) => `policy.${name}`;
  const delivery = checkEnum<number>(
    field("delivery"),
    policy.delivery,
    deliveryPolicies,
    DeliveryPolicy.AT_LEAST_ONCE,
  );
  const maxAgeMs = checkDuration(field("max_age"), policy.maxAge, 3650 * dayMs, defaultPolicy.maxAgeMs);
  if (maxAgeMs < 1_000) throw invalid(field("max_age"), "must be at least 1 s");
  return {
    isBestEffort: delivery === DeliveryPolicy.BEST_EFFORT,
    maxAgeMs,
    maxBytes:
      policy.maxBytes === 0n
        ? defaultPolicy.maxBytes
        : checkInteger(field("max_bytes"), policy.maxBytes, MiB, MiB * MiB),
    trimConsumed: policy.trimConsumed,
    trimPastCursors: policy.trimPastCursors,
    redeliveriesMax:
      policy.redeliveriesMax === 0
        ? defaultPolicy.redeliveriesMax
        : checkInteger(field("redeliveries_max"), policy.redeliveriesMax, 1, 1_000),
  };
}

function toChannelMessage({ channel, heads }: HeldChannel) {
  const { ownerType, owner, name } = channel;
  const isName = ownerType === OwnerType.Name;
  return {
    ref: {
      name,
      owner: isName
        ? { case: "ownerName" as const, value: owner }
        : { case: ownerType === OwnerType.Job ? ("jobId" as const) : ("runId" as const), value: owner },
    },
    policy: {
      delivery: channel.isBestEffort ? DeliveryPolicy.BEST_EFFORT : DeliveryPolicy.AT_LEAST_ONCE,
      maxAge: durationFromMs(channel.maxAgeMs),
      maxBytes: BigInt(channel.maxBytes),
      trimConsumed: channel.trimConsumed,
      trimPastCursors: channel.trimPastCursors,
      redeliveriesMax: channel.redeliveriesMax,
    },
    partitions: heads.map((head) => ({
      partition: head.partition,
      firstSequence: BigInt(head.firstSequence),
      lastSequence: BigInt(head.lastSequence),
      heldBytes: BigInt(head.heldBytes),
    })),
    createdAt: timestampFromMs(Math.round(channel.createdAtMs)),
  };
}

function toCursorMessage(cursor: CursorView) {
  return {
    consumer: cursor.consumer,
    partition: cursor.partition,
    ackedThrough: BigInt(cursor.ackedThrough),
    deliveredThrough: BigInt(cursor.deliveredThrough),
    ...(cursor.checkpointSequence !== null && { checkpointSequence: BigInt(cursor.checkpointSequence) }),
    lag: BigInt(cursor.lag),
    touchedAt: timestampFromMs(Math.round(cursor.touchedAtMs)),
  };
}
