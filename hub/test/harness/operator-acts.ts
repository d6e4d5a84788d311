// Acts of operators on keys, jobs, signals, entries of the inbox and effects.
import type { JsonObject } from "@bufbuild/protobuf";
import { AccessService } from "@holdfast/gen/holdfast/v1/access_service_pb";
import { DeadLetterService } from "@holdfast/gen/holdfast/v1/dead_letter_service_pb";
import { EffectService } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import { InboxService } from "@holdfast/gen/holdfast/v1/inbox_service_pb";
import { JobService } from "@holdfast/gen/holdfast/v1/job_service_pb";
import { SignalService } from "@holdfast/gen/holdfast/v1/signal_service_pb";
import { v7 as uuidv7 } from "uuid";
import { expect } from "vitest";
import {
  effectName,
  fresh,
  justification,
  keyScopes,
  type OperatorAct,
  type OperatorDesk,
  ownReason,
  planted,
} from "./operator-desk.js";

const access = AccessService.method;
const jobs = JobService.method;
const deadLetters = DeadLetterService.method;
const inbox = InboxService.method;
const effects = EffectService.method;
const signals = SignalService.method;
const because = ownReason.reason;

const key = { tenant: "default", subject: "shop", scopes: keyScopes, kinds: [] };
const entry = {
  kind: "order",
  product: "default",
  queue: "default",
  payloadBytes: planted.length * 100,
  submittedBy: expect.any(String),
};
const defaultPolicy: JsonObject = {
  delivery: "at_least_once",
  maxAgeMs: 7 * 86_400_000,
  maxBytes: 1 << 30,
  trimConsumed: false,
  trimPastCursors: false,
  redeliveriesMax: 5,
};

export function operatorActs(desk: OperatorDesk): OperatorAct[] {
  return [
    {
      method: access.createKey,
      action: "key.create",
      scene: async () => ({
        act: desk.call(access.createKey, {
          subject: "shop",
          scopes: keyScopes,
          kinds: ["order"],
          justification,
        }),
        target: null,
        why: justification,
        before: undefined,
        after: { ...key, kinds: ["order"] },
        isNewEachTime: true,
      }),
    },
    {
      method: access.revokeKey,
      action: "key.revoke",
      scene: async () => {
        const keyId = await desk.key();
        return {
          act: desk.call(access.revokeKey, { keyId, justification }),
          target: `key:${keyId}`,
          why: justification,
          before: key,
          after: { ...key, revokedAt: expect.any(String) },
        };
      },
    },
    {
      method: jobs.retry,
      action: "dead_letter.retry",
      what: "of one job",
      scene: async () => {
        const jobId = await desk.ended("HTTP_503");
        return {
          act: desk.call(jobs.retry, { jobId, reason: because }),
          target: `job:${jobId}`,
          why: ownReason,
          before: { state: "dead", attempts: 1, failureCode: "HTTP_503" },
          after: { state: "ready", fencingToken: 2 },
        };
      },
    },
    {
      method: deadLetters.retry,
      action: "dead_letter.retry",
      scene: async () => {
        const jobId = await desk.ended("PARSE_ERROR");
        const target = { case: "filter" as const, value: { code: "PARSE_ERROR" } };
        await desk.client().call(deadLetters.retry, { target, reason: because, dryRun: true });
        return {
          act: desk.call(deadLetters.retry, { target, reason: because }),
          target: `job:${jobId}`,
          why: ownReason,
          before: { state: "dead", attempts: 1, failureCode: "PARSE_ERROR" },
          after: { state: "ready", fencingToken: 2 },
        };
      },
    },
    {
      method: deadLetters.resolve,
      action: "dead_letter.resolve",
      scene: async () => {
        const jobId = await desk.ended("HTTP_404");
        await desk.client().call(deadLetters.resolve, { jobs: { jobIds: [jobId] }, note: "perhaps" });
        return {
          act: desk.call(deadLetters.resolve, { jobs: { jobIds: [jobId, uuidv7()] }, note: because }),
          target: `job:${jobId}`,
          why: ownReason,
          before: { resolvedBy: "ops", note: "perhaps" },
          after: { resolvedBy: "ops", note: because },
        };
      },
    },
    {
      method: jobs.replay,
      action: "job.replay",
      scene: async () => {
        const jobId = await desk.ended(null);
        const request = { requestId: fresh("replay"), jobId, reason: because, repeatEffects: true };
        return {
          act: desk.call(jobs.replay, request),
          target: `job:${jobId}`,
          why: ownReason,
          before: undefined,
          after: { replayId: expect.any(String), isRun: false, jobs: 1, repeatEffects: true },
        };
      },
    },
    {
      method: signals.configureChannel,
      action: "channel.set",
      what: "that is new",
      scene: async () => {
        const name = fresh("channel");
        const channel = { name, owner: { case: "ownerName" as const, value: "press-3" } };
        return {
          act: desk.call(signals.configureChannel, { channel, partitions: 2, justification }),
          target: `channel:press-3/${name}`,
          why: justification,
          before: undefined,
          after: { ...defaultPolicy, partitions: 2 },
        };
      },
    },
    {
      method: signals.configureChannel,
      action: "channel.set",
      scene: async () => {
        const name = await desk.readChannel();
        const policy = { trimConsumed: true, redeliveriesMax: 9 };
        return {
          act: desk.call(signals.configureChannel, { channel: { name }, policy, justification }),
          target: `channel:default/${name}`,
          why: justification,
          before: defaultPolicy,
          after: { ...defaultPolicy, ...policy },
        };
      },
    },
    {
      method: signals.resetCursor,
      action: "cursor.reset",
      scene: async () => {
        const name = await desk.readChannel();
        return {
          act: desk.call(signals.resetCursor, {
            channel: { name },
            consumer: "dashboard",
            ackedThrough: 1n,
            reason: because,
          }),
          target: `cursor:default/${name}/dashboard`,
          why: ownReason,
          before: { partition: 0, ackedThrough: 2 },
          after: { partition: 0, ackedThrough: 1 },
          // The consumer's stream is ended each time.
          isNewEachTime: true,
        };
      },
    },
    {
      method: inbox.retry,
      action: "inbox.retry",
      scene: async () => {
        const jobId = await desk.refusedEntry();
        return {
          act: desk.call(inbox.retry, { jobId, justification }),
          target: `inbox:${jobId}`,
          why: justification,
          before: { ...entry, refusal: "PAYLOAD_TOO_LARGE" },
          after: entry,
          // By then it has been refused again.
          isNewEachTime: true,
        };
      },
    },
    {
      method: inbox.discard,
      action: "inbox.discard",
      scene: async () => {
        const jobId = await desk.refusedEntry();
        return {
          act: desk.call(inbox.discard, { jobId, justification }),
          target: `inbox:${jobId}`,
          why: justification,
          before: { ...entry, refusal: "PAYLOAD_TOO_LARGE" },
          after: undefined,
        };
      },
    },
    {
      method: effects.abandon,
      action: "effect.abandon",
      scene: async () => {
        const key = await desk.heldEffect();
        return {
          act: desk.call(effects.abandon, { name: effectName(key), reason: because }),
          target: `effect:shop/${key}`,
          why: ownReason,
          before: { state: "held", holder: "ops", effectToken: 1, heldUntil: expect.any(String) },
          after: { state: "open", effectToken: 1 },
        };
      },
    },
  ];
}
