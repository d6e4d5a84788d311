import { EffectService, type EffectServiceListRequest } from "@holdfast/gen/holdfast/v1/effect_service_pb";
import type { EffectName } from "../domain/effect.js";
import type { Principal } from "../domain/scope.js";
import { requireScope } from "../services/access.js";
import type { EffectTarget } from "../services/effect-requests.js";
import type { Effects } from "../services/effects.js";
import { checkName, checkPageSize, checkText, checkUuid, invalid } from "./check.js";
import {
  toClaimAnswer,
  toCompletion,
  toEffectMessage,
  toEffectName,
  toEffectToken,
  toFencingToken,
  toReason,
  toRenewed,
  toTtlMs,
} from "./effect-messages.js";
import { type ImplementedService, implement } from "./implementation.js";
import type { EdgeLimits } from "./limits.js";
import { decodePageToken, encodePageToken } from "./page-token.js";

export function effectService(effects: Effects, limits: EdgeLimits): ImplementedService {
  return implement(EffectService, {
    async claim(request, { principal }) {
      const requestId = checkText("request_id", request.requestId, 128, 1);
      const ttlMs = toTtlMs("ttl", request.ttl);
      const answer = await effects.act(toTarget(principal, request), { type: "claim", requestId, ttlMs });
      if (answer.type === "renewed" || answer.type === "written")
        throw new Error(`A claim was answered with ${answer.type}.`);
      return { answer: toClaimAnswer(answer) };
    },

    async renew(request, { principal }) {
      const effectToken = toEffectToken("effect_token", request.effectToken);
      const ttlMs = toTtlMs("ttl", request.ttl);
      const answer = await effects.act(toTarget(principal, request), { type: "renew", effectToken, ttlMs });
      return answer.type === "renewed" ? toRenewed(answer) : {};
    },

    async complete(request, { principal }) {
      const answer = await effects.act(toTarget(principal, request), toCompletion("", request, limits));
      return { existing: answer.type === "written" && answer.isExisting };
    },

    async release(request, { principal }) {
      const effectToken = toEffectToken("effect_token", request.effectToken);
      await effects.act(toTarget(principal, request), { type: "release", effectToken });
      return {};
    },

    async abandon(request, { principal }) {
      const reason = toReason("reason", request.reason);
      const name = toEffectName(request.name);
      if (request.effectToken === 0n) {
        if (request.fencingToken !== 0n) throw invalid("fencing_token", "must be 0 without effect_token");
        await effects.takeAway(principal, name, reason);
      } else {
        requireScope(principal, ["effects:claim", "workers:attach"]);
        const effectToken = toEffectToken("effect_token", request.effectToken);
        await effects.act(toTarget(principal, request), { type: "abandon", effectToken, reason });
      }
      return { effect: toEffectMessage(await effects.get(principal, name)) };
    },

    async get(request, { principal }) {
      return { effect: toEffectMessage(await effects.get(principal, toEffectName(request.name))) };
    },

    async list(request, { principal }) {
      const owner = toOwner(request);
      const limit = checkPageSize(request.pageSize);
      const listed = ["effects", principal.tenantId, owner];
      const after = request.pageToken ? decodePageToken(request.pageToken, listed) : "";
      const found = await effects.list(principal, owner, after, limit);
      const last = found.at(-1);
      return {
        effects: found.map(toEffectMessage),
        nextPageToken: found.length < limit || !last ? "" : encodePageToken(last.name.key, listed),
      };
    },
  });
}

function toTarget(
  principal: Principal,
  request: { readonly name?: Parameters<typeof toEffectName>[0]; readonly fencingToken: bigint },
): EffectTarget {
  const name = toEffectName(request.name);
  return { principal, name, sessionId: null, fencingToken: toFencingToken(name, request.fencingToken) };
}

function toOwner({ owner }: EffectServiceListRequest): Pick<EffectName, "jobId" | "scope"> {
  switch (owner.case) {
    case "jobId":
      return { jobId: checkUuid("job_id", owner.value), scope: null };
    case "scope":
      return { jobId: null, scope: checkName("scope", owner.value) };
    case undefined:
      throw invalid("owner", "is required: job_id or scope");
  }
}
