import type { Principal } from "./scope.js";

/** Who changes something, and why. */
export interface Operator {
  readonly tenantId: number;
  /** Subject of the key; empty without keys. */
  readonly subject: string;
  readonly reason: string;
  /** Where the change was agreed on; empty where none is asked for. */
  readonly ticket: string;
}

/** The caller as an operator, where the call has a reason of its own. */
export function operatorBecause({ tenantId, subject }: Principal, reason: string): Operator {
  return { tenantId, subject, reason, ticket: "" };
}

/** A change that an operator made, as it is kept. */
export interface OperationView {
  readonly operationId: string;
  readonly atMs: number;
  readonly subject: string;
  /** A verb with its object, like "pause.set"; docs/operations.md lists them. */
  readonly action: string;
  /** Name of what was changed. */
  readonly target: string;
  readonly reason: string;
  readonly ticket: string;
  /** What stood there before; null for nothing. */
  readonly before: unknown;
  /** What stands there since; null for nothing. */
  readonly after: unknown;
}
