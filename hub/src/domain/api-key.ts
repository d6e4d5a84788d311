import type { Scope } from "./scope.js";

/** An API key without its secret. Times in milliseconds since 1970. */
export interface ApiKeyView {
  readonly keyId: string;
  readonly tenantId: number;
  readonly tenant: string;
  readonly subject: string;
  readonly scopes: readonly Scope[];
  /** Empty: all. */
  readonly kinds: readonly string[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
}
