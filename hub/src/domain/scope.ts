/** What an API key may do. */
export const scopes = [
  "jobs:submit",
  "jobs:read",
  "jobs:cancel",
  "jobs:operate",
  "workers:attach",
  "effects:claim",
  "signals:publish",
  "signals:subscribe",
  "signals:read",
  "signals:operate",
  "limits:operate",
  "fleet:read",
  "audit:read",
  "access:admin",
] as const;
export type Scope = (typeof scopes)[number];

export function isScope(text: string): text is Scope {
  return (scopes as readonly string[]).includes(text);
}

/** Who calls: from the credential only, never from a message. */
export interface Principal {
  readonly tenantId: number;
  readonly tenant: string;
  /** For people and the history; empty without keys. */
  readonly subject: string;
  /** Public part of the key; empty without keys. */
  readonly keyId: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Kinds that it may submit and work on; null means all. */
  readonly kinds: ReadonlySet<string> | null;
}
