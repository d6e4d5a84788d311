// API keys: "hf_<key id>_<secret>". The secret has 256 random bits, so a plain SHA-256 of it is kept: there is
// nothing to guess that a slow hash would protect.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { ApiKeyView } from "../domain/api-key.js";
import { Fault } from "../domain/fault.js";
import type { Operator } from "../domain/operation.js";
import { type Principal, type Scope, scopes } from "../domain/scope.js";
import type { Ledger } from "../ledger/ledger.js";

/** How long a key that was looked up is trusted: bounds the time until a revocation elsewhere bites if no message says so. */
const trustKeyMs = 5_000;
const trustedKeysMax = 10_000;
const keyForm = /^hf_([0-9a-z]{12})_([0-9A-Za-z_-]{43})$/;
const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";

/** Whoever else has to know. */
export interface AccessHooks {
  readonly revoked: (keyId: string) => void;
  /** The ledger held no key until now. */
  readonly closed: () => void;
}

type AccessLedger = Pick<
  Ledger,
  "hasKeys" | "findGoodKey" | "insertKey" | "listKeys" | "revokeKey" | "findTenant"
>;

export interface KeyRequest {
  readonly subject: string;
  readonly scopes: readonly Scope[];
  readonly kinds: readonly string[];
  /** null: the caller's. */
  readonly tenant: string | null;
  readonly expiresAtMs: number | null;
}

export class Access {
  readonly #ledger: AccessLedger;
  readonly #hooks: AccessHooks;
  readonly #isExposed: boolean;
  readonly #trusted = new Map<string, { principal: Principal; untilMs: number }>();
  #everybody: { principal: Principal | null; untilMs: number } = { principal: null, untilMs: 0 };

  /** @param isExposed others than this machine can reach the hub: then nobody is let in without a key, whatever the ledger holds */
  constructor(ledger: AccessLedger, hooks: AccessHooks, isExposed: boolean) {
    this.#ledger = ledger;
    this.#hooks = hooks;
    this.#isExposed = isExposed;
  }

  /** Keys were changed elsewhere: what was looked up before counts no more. */
  forget(): void {
    this.#trusted.clear();
    this.#everybody = { principal: null, untilMs: 0 };
  }

  /**
   * Who calls with this Authorization header. Without any key in the ledger: everybody on this machine, as tenant "default".
   *
   * @throws Fault UNAUTHENTICATED
   */
  async authenticate(authorization: string | null): Promise<Principal> {
    const everybody = await this.#openToEverybody();
    if (everybody) return everybody;
    const credential = /^Bearer (\S+)$/i.exec(authorization ?? "")?.[1];
    if (!credential)
      throw new Fault(
        "UNAUTHENTICATED",
        'An API key is needed: send it as metadata "authorization: Bearer hf_…" (HOLDFAST_API_KEY for the CLI and SDK).',
      );
    const digest = sha256(credential).toString("base64");
    const trusted = this.#trusted.get(digest);
    if (trusted && trusted.untilMs > Date.now()) return trusted.principal;
    const [, keyId = "", secret = ""] = keyForm.exec(credential) ?? [];
    const found = keyId ? await this.#ledger.findGoodKey(keyId) : null;
    if (!found || !timingSafeEqual(sha256(secret), found.secretHash)) {
      this.#trusted.delete(digest);
      throw new Fault("UNAUTHENTICATED", "The API key is unknown, revoked or expired.");
    }
    const principal = toPrincipal(found.key);
    if (this.#trusted.size >= trustedKeysMax) this.#trusted.clear();
    this.#trusted.set(digest, { principal, untilMs: Date.now() + trustKeyMs });
    return principal;
  }

  async create(
    caller: Principal,
    operator: Operator,
    request: KeyRequest,
  ): Promise<{ key: ApiKeyView; credential: string }> {
    const tenant = nameTenant(caller, request.tenant);
    if (caller.keyId === "" && !(request.scopes.includes("access:admin") && tenant === caller.tenant))
      throw new Fault(
        "FIRST_KEY_NOT_ADMIN",
        'The first key must carry the scope access:admin, for tenant "default"; without it nobody could make a second there.',
        { scope: "access:admin" },
      );
    if (request.expiresAtMs !== null && request.expiresAtMs <= Date.now())
      throw new Fault("INVALID_FIELD", "expires_at must be in the future.", { field: "expires_at" });
    const keyId = [...randomBytes(12)].map((byte) => alphabet[byte % alphabet.length]).join("");
    const secret = randomBytes(32).toString("base64url");
    const secretHash = sha256(secret);
    const key = await this.#ledger.insertKey(operator, { ...request, keyId, tenant, secretHash });
    this.#everybody = { principal: null, untilMs: Date.now() + trustKeyMs };
    if (caller.keyId === "") this.#hooks.closed();
    return { key, credential: `hf_${keyId}_${secret}` };
  }

  /** @param tenant whose keys; null: the caller's */
  async list(
    caller: Principal,
    tenant: string | null,
    before: Parameters<AccessLedger["listKeys"]>[1],
    limit: number,
  ): Promise<ApiKeyView[]> {
    const name = nameTenant(caller, tenant);
    const tenantId = name === caller.tenant ? caller.tenantId : await this.#ledger.findTenant(name);
    return tenantId === null ? [] : this.#ledger.listKeys(tenantId, before, limit);
  }

  /** Who makes keys for all tenants revokes them, too. */
  async revoke(caller: Principal, operator: Operator, keyId: string): Promise<ApiKeyView> {
    const tenantId = isOverTenants(caller) ? null : caller.tenantId;
    const key = await this.#ledger.revokeKey(operator, tenantId, keyId);
    if (!key) throw new Fault("KEY_NOT_FOUND", "There is no such key.", { key_id: keyId });
    this.#trusted.clear();
    this.#hooks.revoked(keyId);
    return key;
  }

  async #openToEverybody(): Promise<Principal | null> {
    if (this.#isExposed) return null;
    if (this.#everybody.untilMs > Date.now()) return this.#everybody.principal;
    const tenantId = (await this.#ledger.hasKeys()) ? null : await this.#ledger.findTenant("default");
    const principal: Principal | null =
      tenantId === null
        ? null
        : { tenantId, tenant: "default", subject: "", keyId: "", scopes: new Set(scopes), kinds: null };
    this.#everybody = { principal, untilMs: Date.now() + trustKeyMs };
    return principal;
  }
}

/** Keys of all tenants are in the hands of "default". */
function isOverTenants({ tenant }: Principal): boolean {
  return tenant === "default";
}

/** @throws Fault INVALID_FIELD */
function nameTenant(caller: Principal, tenant: string | null): string {
  if (tenant === null || tenant === caller.tenant) return caller.tenant;
  if (isOverTenants(caller)) return tenant;
  throw new Fault("INVALID_FIELD", 'Only a caller of tenant "default" may name other tenants.', {
    field: "tenant",
  });
}

/**
 * @param scope or any of several
 * @throws Fault SCOPE_MISSING
 */
export function requireScope(principal: Principal, scope: Scope | readonly Scope[]): void {
  const sufficient = typeof scope === "string" ? [scope] : scope;
  if (sufficient.some((one) => principal.scopes.has(one))) return;
  const named = sufficient.join(" or ");
  throw new Fault("SCOPE_MISSING", `The API key lacks the scope ${named}.`, { scope: named });
}

/** @throws Fault KIND_NOT_ALLOWED */
export function requireKinds(principal: Principal, kinds: readonly string[]): void {
  const refused = principal.kinds && kinds.find((kind) => !principal.kinds?.has(kind));
  if (refused)
    throw new Fault("KIND_NOT_ALLOWED", `The API key does not allow jobs of kind ${refused}.`, {
      kind: refused,
    });
}

function toPrincipal(key: ApiKeyView): Principal {
  return {
    tenantId: key.tenantId,
    tenant: key.tenant,
    subject: key.subject,
    keyId: key.keyId,
    scopes: new Set(key.scopes),
    kinds: key.kinds.length > 0 ? new Set(key.kinds) : null,
  };
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
