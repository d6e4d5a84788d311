import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AccessService,
  type ApiKeySchema,
  type CreateKeyRequest,
} from "@holdfast/gen/holdfast/v1/access_service_pb";
import type { ApiKeyView } from "../domain/api-key.js";
import { isScope, scopes } from "../domain/scope.js";
import type { Access, KeyRequest } from "../services/access.js";
import { checkCount, checkName, checkPageSize, checkText, checkTime, invalid } from "./check.js";
import { type ImplementedService, implement } from "./implementation.js";
import { optionalTime } from "./job-messages.js";
import { toOperator } from "./operation-service.js";
import { decodePageToken, encodePageToken } from "./page-token.js";

const tenantForm = /^[a-z0-9-]{1,63}$/;
const keyIdForm = /^[0-9a-z]{12}$/;

export function accessService(access: Access): ImplementedService {
  return implement(AccessService, {
    async createKey(request, { principal }) {
      const operator = toOperator(principal, request.justification, "optional");
      const { key, credential } = await access.create(principal, operator, toKeyRequest(request));
      return { key: toKeyMessage(key), apiKey: credential };
    },

    async listKeys(request, { principal }) {
      const limit = checkPageSize(request.pageSize);
      const tenant = toTenant(request.tenant);
      const listed = ["keys", principal.tenantId, tenant];
      const position = request.pageToken ? decodePageToken(request.pageToken, listed) : null;
      const keys = await access.list(
        principal,
        tenant,
        position === null ? null : toPosition(position),
        limit,
      );
      const last = keys.at(-1);
      const isLastPage = keys.length < limit || !last;
      return {
        keys: keys.map(toKeyMessage),
        nextPageToken: isLastPage ? "" : encodePageToken(`${last.createdAtMs}/${last.keyId}`, listed),
      };
    },

    async revokeKey(request, { principal }) {
      if (!keyIdForm.test(request.keyId)) throw invalid("key_id", "must be 12 characters of 0-9 a-z");
      const operator = toOperator(principal, request.justification, "optional");
      return { key: toKeyMessage(await access.revoke(principal, operator, request.keyId)) };
    },
  });
}

function toKeyRequest(request: CreateKeyRequest): KeyRequest {
  checkCount("scopes", request.scopes.length, 1, scopes.length);
  checkCount("kinds", request.kinds.length, 0, 256);
  return {
    subject: checkText("subject", request.subject, 128, 1),
    scopes: request.scopes.map((scope, at) => {
      if (!isScope(scope)) throw invalid(`scopes[${at}]`, `must be one of ${scopes.join(", ")}`);
      return scope;
    }),
    kinds: request.kinds.map((kind, at) => checkName(`kinds[${at}]`, kind)),
    tenant: toTenant(request.tenant),
    expiresAtMs: checkTime("expires_at", request.expiresAt),
  };
}

/** null: the caller's. */
function toTenant(name: string): string | null {
  if (name === "") return null;
  if (!tenantForm.test(name)) throw invalid("tenant", "must be 1 to 63 characters of a-z 0-9 -");
  return name;
}

function toPosition(text: string): { createdAtMs: number; keyId: string } {
  const [createdAt = "", keyId = ""] = text.split("/");
  const createdAtMs = Number(createdAt);
  if (!Number.isFinite(createdAtMs) || !keyIdForm.test(keyId)) throw invalid("page_token", "is damaged");
  return { createdAtMs, keyId };
}

function toKeyMessage(key: ApiKeyView): MessageInitShape<typeof ApiKeySchema> {
  return {
    keyId: key.keyId,
    tenant: key.tenant,
    subject: key.subject,
    scopes: [...key.scopes],
    kinds: [...key.kinds],
    ...optionalTime("createdAt", key.createdAtMs),
    ...optionalTime("expiresAt", key.expiresAtMs),
    ...optionalTime("revokedAt", key.revokedAtMs),
  };
}
